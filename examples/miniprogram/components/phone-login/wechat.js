// @ts-check
// All that the component wants of WeChat and of the clock.

/** @param {(code: string) => void} done */
function login(done) {
  wx.login({ timeout: 10000, success: ({ code }) => done(code), fail: () => done('') })
}

/** @param {(online: boolean) => void} done */
function online(done) {
  wx.getNetworkType({ success: ({ networkType }) => done(networkType !== 'none'), fail: () => done(true) })
}

/**
 * @param {string} url
 * @param {object} data
 * @param {(response: import('./answer').Response | null) => void} done
 */
function post(url, data, done) {
  // success is an answer of any status.
  wx.request({ url, method: 'POST', data, timeout: 10000, success: done, fail: () => done(null) })
}

/** chinese is whether the phone speaks it. */
function chinese() {
  const info = wx.getAppBaseInfo ? wx.getAppBaseInfo() : wx.getSystemInfoSync()
  return /^zh/.test(info.language)
}

/**
 * @param {number} ms
 * @param {() => void} f
 */
function later(ms, f) {
  const timer = setTimeout(f, ms)
  return () => clearTimeout(timer)
}

const now = () => Date.now()
const chance = () => Math.random()

module.exports = { login, online, post, chinese, later, now, chance }
