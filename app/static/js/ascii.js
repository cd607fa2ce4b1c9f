// Upper and lower case of ASCII letters only. String.prototype.toUpperCase() maps other letters to ASCII ones ("ß" to "SS",
// "ı" to "I"), which would make another ticker of what was typed.

const SHIFT = 32;   // between "A" and "a"
const shifted = (letter, by) => String.fromCharCode(letter.charCodeAt(0) + by);

export const upperCase = (text) => text.replace(/[a-z]/g, (letter) => shifted(letter, -SHIFT));
export const lowerCase = (text) => text.replace(/[A-Z]/g, (letter) => shifted(letter, SHIFT));
