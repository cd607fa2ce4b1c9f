// Two soft notes, made here rather than fetched. A browser plays nothing before the first click or key on a page.

const NOTES = [[0, 660], [0.18, 880]];   // seconds from now, hertz
const LOUD = 0.12;
const FADES = 0.45;

function note(audio, after, pitch) {
  const at = audio.currentTime + after;
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = pitch;
  volume.gain.setValueAtTime(0, at);
  volume.gain.linearRampToValueAtTime(LOUD, at + 0.02);
  volume.gain.exponentialRampToValueAtTime(0.001, at + FADES);
  tone.connect(volume);
  volume.connect(audio.destination);
  tone.start(at);
  tone.stop(at + FADES);
}

export function createSound({ Audio = window.AudioContext } = {}) {
  let audio;

  return {
    possible: !!Audio,
    get ready() {
      return audio?.state === 'running';
    },

    /** To be called from a click or a key. */
    async unlock() {
      audio ??= new Audio();
      if (audio.state !== 'running') await audio.resume();
    },

    play() {
      for (const [after, pitch] of NOTES) note(audio, after, pitch);
    },
  };
}
