// @ts-check
const { url, stage } = require('../../config')

Page({
  data: { url, stage, outcome: '', phoneNumber: '', error: '' },

  /** @param {WechatMiniprogram.CustomEvent<import('../../components/phone-login/login').Result>} event */
  onResult({ detail }) {
    const { outcome, data, error, message, requestId } = detail
    this.setData({
      outcome,
      phoneNumber: data ? data.phoneNumber : '',
      error: [error, message, requestId].filter(Boolean).join(' '), // for the developer; the user reads the note
    })
  },
})
