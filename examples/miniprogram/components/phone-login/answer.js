// @ts-check
// What the answer to a post means, and how long to pause before the same is
// posted again.

/**
 * What wx.request brings.
 * @typedef {{statusCode: number, data: any, header?: Record<string, string>}} Response
 *
 * What to do: an action of the function's, or success.
 * @typedef {'success' | 'login' | 'tap' | 'retry' | 'wait' | 'fix' | 'none'} Action
 *
 * @typedef {object} Answer
 * @property {Action} action
 * @property {any} [data] the answer's JSON, of a success
 * @property {string} [error] the function's, or no_answer
 * @property {number} [status]
 * @property {string} [message] the function's, for the developer
 * @property {string} [requestId] finds the function's log line
 * @property {number} after milliseconds to wait at least
 */

const ACTIONS = ['login', 'tap', 'retry', 'wait', 'fix', 'none']

/** PAUSES are the milliseconds before each repetition, and so bound them. */
const PAUSES = { retry: [1000, 2000, 4000], wait: [5000, 15000] }

/**
 * read takes null where nothing came back: nobody knows then whether the codes
 * are used.
 * @param {Response | null} response
 * @returns {Answer}
 */
function read(response) {
  if (!response) return { action: 'login', error: 'no_answer', after: 0 }
  const status = response.statusCode
  const data = response.data !== null && typeof response.data === 'object' ? response.data : undefined
  if (data && typeof data.error === 'string') {
    const action = ACTIONS.indexOf(data.action) >= 0 ? data.action : byStatus(status)
    return { action, error: data.error, status, message: data.message, requestId: data.requestId, after: retryAfter(response) }
  }
  if (data && status === 200) return { action: 'success', data, status, after: 0 }
  return { action: byStatus(status), status, after: retryAfter(response) }
}

/**
 * byStatus reads answers that are not the function's: the gateway's own, or a
 * page that some network puts in between.
 * @param {number} status
 * @returns {Action}
 */
function byStatus(status) {
  if (status === 429) return 'wait'
  return status >= 400 && status < 500 ? 'fix' : 'login'
}

/**
 * retryAfter is in milliseconds, 0 where the header is none or no number. Phones
 * differ in how they write headers' names.
 * @param {Response} response
 */
function retryAfter(response) {
  const header = response.header || {}
  const name = Object.keys(header).filter(name => name.toLowerCase() === 'retry-after')[0]
  const seconds = name ? Number(header[name]) : 0
  return seconds > 0 ? seconds * 1000 : 0
}

/**
 * pause is how long to wait before the same is posted again, after it was posted
 * again already that often; -1 where it must not be. Up to a quarter is added by
 * chance (0 to 1), lest all phones that were turned away come back at once.
 * @param {Answer} answer
 * @param {number} repeated
 * @param {number} chance
 */
function pause(answer, repeated, chance) {
  if (answer.action !== 'retry' && answer.action !== 'wait') return -1
  const pauses = PAUSES[answer.action]
  if (repeated >= pauses.length) return -1
  return Math.max(answer.after, pauses[repeated]) * (1 + chance / 4)
}

module.exports = { read, pause }
