// What the API document demands of a request and of its answer, in words where it is not met.

import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const MAY_ALWAYS_HAPPEN = 500;   // no document promises it, but it has a shape

export function createContract(document) {
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true, multipleOfPrecision: 6 });
  addFormats(ajv);
  // What JSON Schema has no word for; the patterns beside these formats say what can be said.
  for (const name of ['printable', 'number-cursor', 'instant-cursor']) ajv.addFormat(name, true);
  ajv.addSchema(document, 'document');

  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({
    ...operation, method: method.toUpperCase(), path, matches: new RegExp(`^${path.replace(/{\w+}/g, '[^/]+')}$`),
  })));

  /** The operation, the one without a gap in its path first: `approvals/decisions` is no id. */
  function operationOf(method, url) {
    const { pathname } = new URL(url);
    const found = operations.filter((one) => one.method === method && one.matches.test(pathname));
    return found.sort((one, other) => one.path.split('{').length - other.path.split('{').length)[0];
  }

  /** Where in the document, as a JSON pointer. */
  const pointer = (...steps) => `document#/${steps.map((step) => step.replaceAll('~', '~0').replaceAll('/', '~1')).map(encodeURIComponent).join('/')}`;

  function wrongBy(reference, value) {
    const validate = ajv.getSchema(reference) ?? ajv.compile({ $ref: reference });
    return validate(value) ? [] : validate.errors.map(({ instancePath, message, params }) => `${instancePath || 'the body'} ${message} ${JSON.stringify(params)}`);
  }

  function wrongIn(text, ...steps) {
    let value;
    try {
      value = JSON.parse(text);
    } catch (error) {
      return [`no JSON: ${error.message}`];
    }
    return wrongBy(pointer(...steps), value);
  }

  function bodyErrors({ method, path, requestBody }, type, text) {
    if (!requestBody) return text ? ['a body where none belongs'] : [];
    if (!text && !requestBody.required) return [];
    const [media] = (type ?? 'nothing').split(';');
    if (!requestBody.content[media]) return [`a body of type ${media}`];
    return wrongIn(text, 'paths', path, method.toLowerCase(), 'requestBody', 'content', media, 'schema');
  }

  function queryErrors({ parameters = [] }, query) {
    const known = parameters.filter((one) => one.in === 'query').map(({ name }) => name);
    return [...query.keys()].filter((name) => !known.includes(name)).map((name) => `an unknown query parameter ${name}`);
  }

  function headerErrors({ headers = {} }, given) {
    return Object.keys(headers).filter((name) => headers[name].required && !given.has(name)).map((name) => `no header ${name}`);
  }

  function contentErrors(operation, status, content, type, text) {
    const [media] = (type ?? '').split(';');
    if (!content) return text ? ['a body where none belongs'] : [];
    if (!content[media]) return [`a body of type ${media || 'nothing'}`];
    if (!media.endsWith('json')) return [];
    return wrongIn(text, 'paths', operation.path, operation.method.toLowerCase(), 'responses', String(status), 'content', media, 'schema');
  }

  const named = (method, url, wrong) => wrong.map((error) => `${method} ${new URL(url).pathname}: ${error}`);

  return {
    operations,

    /** What is wrong with a request; nothing where it is as the document wants it. */
    async requestErrors(request) {
      const { method, url, headers } = request;
      const operation = operationOf(method, url);
      if (!operation) return named(method, url, ['no such operation']);
      const text = await request.clone().text();
      return named(method, url, [...bodyErrors(operation, headers.get('Content-Type'), text), ...queryErrors(operation, new URL(url).searchParams)]);
    },

    /** What is wrong with an answer to that method and address. Only bodies that are not JSON are not looked into. */
    async answerErrors({ method, url }, response) {
      const { status, headers } = response;
      const operation = operationOf(method, url);
      if (!operation) return named(method, url, ['no such operation']);
      const text = await response.clone().text();
      if (status === MAY_ALWAYS_HAPPEN) return named(method, url, wrongIn(text, 'components', 'schemas', 'Problem'));
      const promised = operation.responses[status];
      if (!promised) return named(method, url, [`status ${status}`]);
      const wrong = [...headerErrors(promised, headers), ...contentErrors(operation, status, promised.content, headers.get('Content-Type'), text)];
      return named(method, url, wrong.map((error) => `${status}: ${error}`));
    },

    /** What is wrong with a value by the schema of that name. */
    wrongWith: (name, value) => wrongBy(pointer('components', 'schemas', name), value),
  };
}
