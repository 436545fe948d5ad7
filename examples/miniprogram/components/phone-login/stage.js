// @ts-check
// In place of wx.login() and of the button: make start's WeChat, which logs a
// made-up user in and taps. What a tap would hand over comes with the code.

class Stage {
  /** @param {string} url of its /tap */
  constructor(url) {
    this.url = url
    this.detail = {}
  }

  /** @param {(code: string) => void} done */
  login(done) {
    wx.request({
      url: this.url,
      success: ({ statusCode, data }) => {
        if (statusCode !== 200) return done('')
        const { code, phoneCode, encryptedData, iv } = /** @type {Record<string, string>} */ (data)
        this.detail = { code: phoneCode, encryptedData, iv }
        done(code)
      },
      fail: () => done(''),
    })
  }
}

module.exports = { Stage }
