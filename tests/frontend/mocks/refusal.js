// The mocked server's no, as RFC 9457 problem details.

const TITLES = {
  400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 408: 'Request Timeout', 409: 'Conflict', 412: 'Precondition Failed',
  413: 'Request Entity Too Large', 415: 'Unsupported Media Type', 422: 'Unprocessable Entity', 428: 'Precondition Required', 429: 'Too Many Requests',
  500: 'Internal Server Error', 503: 'Service Unavailable',
};

export class Refusal extends Error {
  constructor(status, code, detail, more = {}) {
    super(detail);
    Object.assign(this, { status, body: { type: 'about:blank', title: TITLES[status], status, detail, code, ...more } });
  }

  static invalid(errors) {
    const detail = Object.entries(errors).map(([field, said]) => `${field}: ${said.join(' ')}`).join('; ');
    return new Refusal(422, 'invalid', detail, { errors });
  }

  static notFound(what) {
    return new Refusal(404, 'not_found', `there is no such ${what}`);
  }
}
