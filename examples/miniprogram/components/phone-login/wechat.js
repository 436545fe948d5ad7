// @ts-check
// Everything that the component and the session use of WeChat, the clock and the random
// number generator. A test may replace any of it.

/**
 * What WeChat says about a call that failed.
 * @typedef {{errMsg?: string, errno?: number}} Failure
 */

/** How long wx.login() may take, in milliseconds. */
const LOGIN_TIMEOUT = 10 * 1000

/**
 * How long an answer may take, in milliseconds. It is longer than a backend waits for the
 * function: giving up first would throw away a tap.
 */
const POST_TIMEOUT = 20 * 1000

/**
 * answered makes sure that done is called exactly once. WeChat may forget a call while the
 * mini-program is in the background, and everything else would wait for it.
 * @template T
 * @param {number} timeout WeChat's own, in milliseconds
 * @param {T} none what done gets without an answer
 * @param {(answer: T, failure: Failure) => void} done
 */
function answered(timeout, none, done) {
  let waiting = true
  /** @type {typeof done} */
  const finish = (answer, failure) => {
    if (!waiting) return
    waiting = false
    cancel()
    done(answer, failure)
  }
  const cancel = schedule(timeout + 2000, () => finish(none, { errMsg: 'fail no answer' }))
  return finish
}

/** @param {(code: string, failure: Failure) => void} done passes '' if there is no code */
function login(done) {
  const finish = answered(LOGIN_TIMEOUT, /** @type {string} */ (''), done)
  wx.login({
    timeout: LOGIN_TIMEOUT,
    success: ({ code, errMsg }) => finish(code, { errMsg }),
    fail: error => finish('', error),
  })
}

/** @param {(online: boolean) => void} done */
function checkOnline(done) {
  wx.getNetworkType({ success: ({ networkType }) => done(networkType !== 'none'), fail: () => done(true) })
}

/**
 * request is wx.request, which calls success for every status.
 * @param {WechatMiniprogram.RequestOption} options
 */
function request(options) { wx.request(options) }

/**
 * @param {{url: string, header?: object, data: object}} options
 * @param {(response: import('./answer').Response | null, failure: Failure) => void} done
 */
function post({ url, header, data }, done) {
  const finish = answered(POST_TIMEOUT, /** @type {import('./answer').Response | null} */ (null), done)
  request({
    url, header, data, method: 'POST', timeout: POST_TIMEOUT,
    success: response => finish(response, {}),
    fail: error => finish(null, error),
  })
}

/** appid returns the mini-program's appid, or '' for a test account that has none. */
function appid() {
  const { appId } = wx.getAccountInfoSync().miniProgram
  return /^wx[0-9a-f]{16}$/.test(appId) ? appId : ''
}

/** @param {string} key */
function load(key) {
  try { return wx.getStorageSync(key) } catch (error) { return null }
}

/**
 * store keeps a value until the next visit, if it can.
 * @param {string} key
 * @param {object} value
 */
function store(key, value) {
  try { wx.setStorageSync(key, value) } catch (error) { /* full: the next visit needs a tap */ }
}

/** @param {string} key */
function remove(key) {
  try { wx.removeStorageSync(key) } catch (error) { /* nothing is stored */ }
}

/** isChinese reports whether WeChat's language is Chinese. */
function isChinese() {
  const info = wx.getAppBaseInfo ? wx.getAppBaseInfo() : wx.getSystemInfoSync()
  return /^zh/.test(info.language)
}

/**
 * schedule calls f after ms milliseconds. It returns a function that cancels the call.
 * @param {number} ms
 * @param {() => void} f
 */
function schedule(ms, f) {
  const timer = setTimeout(f, ms)
  return () => clearTimeout(timer)
}

const now = () => Date.now()
const random = () => Math.random()

/** If set, it replaces the phone number button and returns the detail of its event. */
const tap = /** @type {(() => object) | null} */ (null)

module.exports = {
  login, checkOnline, request, post, appid, load, store, remove, isChinese, schedule, now, random, tap,
}
