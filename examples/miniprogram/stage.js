// @ts-check
// Replaces wx.login() and the phone number button with make start's mock WeChat.

const wechat = require('./components/phone-login/wechat')

const USER = 'stage-user'

/**
 * use makes the component and the session use the mock WeChat's /tap. It logs in a made-up
 * user, the same on each visit, and returns the login code and the button's data together.
 * @param {string} url of /tap
 */
function use(url) {
  const user = wx.getStorageSync(USER) || String(Math.random())
  wx.setStorageSync(USER, user)
  /** @type {Record<string, string>} */
  let last = {}

  /** @type {typeof wechat.login} */
  function login(done) {
    wx.request({
      url, data: { user },
      success: ({ statusCode, data }) => {
        last = statusCode === 200 ? /** @type {Record<string, string>} */ (data) : {}
        done(last.code || '', { errMsg: `${url}: ${statusCode}` })
      },
      fail: error => done('', error),
    })
  }
  Object.assign(wechat, {
    login,
    appid: () => last.appid,
    tap: () => ({ code: last.phoneCode, encryptedData: last.encryptedData, iv: last.iv }),
  })
}

module.exports = { use }
