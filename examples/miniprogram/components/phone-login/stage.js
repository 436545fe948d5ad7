// @ts-check

/**
 * Stage replaces wx.login() and the button with make start's mock WeChat. Its /tap
 * logs in a made-up user and returns the login code and the button's data together.
 */
class Stage {
  /** @param {string} url of /tap */
  constructor(url) {
    this.url = url
    this.detail = {} // the button's data for the last login
  }

  /** @param {(code: string) => void} done */
  login(done) {
    wx.request({
      url: this.url,
      success: ({ statusCode, data }) => {
        if (statusCode !== 200) return done('')
        const { code, phoneCode, encryptedData, iv, appid } = /** @type {Record<string, string>} */ (data)
        this.detail = { code: phoneCode, encryptedData, iv, appid }
        done(code)
      },
      fail: () => done(''),
    })
  }
}

module.exports = { Stage }
