// @ts-check
// Decides what an answer means and how long to wait before a retry.

/**
 * The response that wx.request passes to success.
 * @typedef {{statusCode: number, data: any, header?: Record<string, string>}} Response
 *
 * What to do next: success, or one of the function's actions.
 * @typedef {'success' | 'login' | 'tap' | 'retry' | 'wait' | 'fix' | 'none'} Action
 *
 * @typedef {object} Answer
 * @property {Action} action
 * @property {any} [data] the body of a success, or of an envelope that reports a failure
 * @property {string} [error] the function's error, or no_answer, cannot_connect, envelope
 * @property {number} [status]
 * @property {string} [message] the function's message, for the developer
 * @property {string} [requestId] finds the function's log line
 * @property {string} [errMsg] WeChat's, if there is no response
 * @property {number} [errno] WeChat's, if there is no response
 * @property {number} after minimum delay before a retry, in milliseconds
 *
 * For backends that answer 200 to everything: a success has this value in this field.
 * @typedef {{field: string, value: string}} Envelope
 */

const ACTIONS = ['login', 'tap', 'retry', 'wait', 'fix', 'none']

/** Milliseconds before each retry. There are no more retries than entries. */
const PAUSES = { retry: [1000, 2000, 4000], wait: [5000, 15000] }

/** The errno if the URL's domain is not registered in WeChat's console. */
const NOT_IN_DOMAIN_LIST = 600002
/**
 * What WeChat says if it cannot connect until somebody changes the URL, the domain list
 * or the certificate. It has no errno of its own for TLS, and the words differ between
 * phones: "ssl hand shake error", "net::ERR_CERT_AUTHORITY_INVALID", "此服务器的证书无效".
 */
const CANNOT_CONNECT = /domain list|ERR_CERT|ERR_SSL|ERR_CLEARTEXT|\bssl\b|certificate|证书|invalid url/i

/**
 * read interprets a response, or WeChat's failure if there is none.
 * @param {Response | null} response
 * @param {import('./wechat').Failure} [failure]
 * @param {Envelope} [envelope]
 * @returns {Answer}
 */
function read(response, failure = {}, envelope) {
  if (!response) return readFailure(failure)
  const { statusCode: status, data: body } = response
  const data = body !== null && typeof body === 'object' ? body : {}
  const { error, message, requestId } = data
  const known = ACTIONS.indexOf(data.action) >= 0
  if (error && known) return { action: data.action, error, status, message, requestId, after: retryAfter(response) }
  if (status < 200 || status > 299) {
    return { action: actionForStatus(status), error, status, message, requestId, after: retryAfter(response) }
  }
  if (envelope && envelope.field && String(data[envelope.field]) !== envelope.value) {
    // Another tap may cost the owner money and fail too. A backend that wants one sends an action.
    return { action: known ? data.action : 'none', error: 'envelope', data: body, status, after: retryAfter(response) }
  }
  return { action: 'success', data: body, status, after: 0 }
}

/**
 * readFailure interprets a missing response. The codes may be used then, so the user must
 * log in again, unless WeChat cannot connect at all.
 * @param {import('./wechat').Failure} failure
 * @returns {Answer}
 */
function readFailure({ errMsg, errno }) {
  const stuck = errno === NOT_IN_DOMAIN_LIST || CANNOT_CONNECT.test(errMsg || '')
  return stuck ? { action: 'fix', error: 'cannot_connect', errMsg, errno, after: 0 }
    : { action: 'login', error: 'no_answer', errMsg, errno, after: 0 }
}

/**
 * actionForStatus handles answers without an action, which do not come from the function.
 * @param {number} status
 * @returns {Action}
 */
function actionForStatus(status) {
  if (status === 429) return 'wait'
  return status >= 400 && status < 500 ? 'fix' : 'login'
}

/**
 * retryAfter returns the retry-after header in milliseconds, or 0 if it is missing or
 * not a number. Phones differ in the case of header names.
 * @param {Response} response
 */
function retryAfter(response) {
  const header = response.header || {}
  const name = Object.keys(header).filter(name => name.toLowerCase() === 'retry-after')[0]
  const seconds = name ? Number(header[name]) : 0
  return seconds > 0 ? seconds * 1000 : 0
}

/**
 * retryDelay returns the milliseconds to wait before a retry, or -1 if there must be
 * none. It adds up to a quarter, so that phones do not all come back at once.
 * @param {Answer} answer
 * @param {number} retries so far
 * @param {number} random from 0 to 1
 */
function retryDelay(answer, retries, random) {
  if (answer.action !== 'retry' && answer.action !== 'wait') return -1
  const pauses = PAUSES[answer.action]
  if (retries >= pauses.length) return -1
  return Math.max(answer.after, pauses[retries]) * (1 + random / 4)
}

module.exports = { read, retryDelay }
