// @ts-check
// All that the component uses of WeChat, the clock and the random generator.

/** @param {(code: string) => void} done */
function login(done) {
  wx.login({ timeout: 10000, success: ({ code }) => done(code), fail: () => done('') })
}

/** @param {(online: boolean) => void} done */
function checkOnline(done) {
  wx.getNetworkType({ success: ({ networkType }) => done(networkType !== 'none'), fail: () => done(true) })
}

/**
 * @param {string} url
 * @param {object} data
 * @param {(response: import('./answer').Response | null) => void} done
 */
function post(url, data, done) {
  // WeChat calls success for every status.
  wx.request({ url, method: 'POST', data, timeout: 10000, success: done, fail: () => done(null) })
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

module.exports = { login, checkOnline, post, isChinese, schedule, now, random }
