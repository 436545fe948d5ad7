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
 * @property {any} [data] the JSON of a success
 * @property {string} [error] the function's error, or no_answer
 * @property {number} [status]
 * @property {string} [message] the function's message, for the developer
 * @property {string} [requestId] finds the function's log line
 * @property {number} after minimum delay before a retry, in milliseconds
 */

const ACTIONS = ['login', 'tap', 'retry', 'wait', 'fix', 'none']

/** Milliseconds before each retry. There are no more retries than entries. */
const PAUSES = { retry: [1000, 2000, 4000], wait: [5000, 15000] }

/**
 * read interprets a response. It is null if none arrived. The codes may be used
 * then, so the user must log in again.
 * @param {Response | null} response
 * @returns {Answer}
 */
function read(response) {
  if (!response) return { action: 'login', error: 'no_answer', after: 0 }
  const status = response.statusCode
  const data = response.data !== null && typeof response.data === 'object' ? response.data : undefined
  if (data && typeof data.error === 'string') {
    const action = ACTIONS.indexOf(data.action) >= 0 ? data.action : actionForStatus(status)
    const { error, message, requestId } = data
    return { action, error, status, message, requestId, after: retryAfter(response) }
  }
  if (data && status === 200) return { action: 'success', data, status, after: 0 }
  return { action: actionForStatus(status), status, after: retryAfter(response) }
}

/**
 * actionForStatus handles answers that do not come from the function, but from the
 * gateway or from a captive portal.
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
