// A page in TypeScript, without allowJs. The compiler checks it; nothing runs it.

import * as session from '../../components/phone-login/session'
import type { PhoneAnswer, ResultEvent } from '../../components/phone-login/index'

session.open({ url: 'https://phone.example.com/login' })
session.open({ url: 'https://phone.example.com/login', appid: 'wx0000000000000000' })
session.open({ url: 'https://shop.example.com/login', successField: 'code', successValue: 0, dataField: 'data' })
// @ts-expect-error -- the URL is required
session.open({})

Page({
  stop: () => {},
  onLoad() {
    this.stop = session.watch(({ status, reason, e164 }) => {
      if (status === 'tap' && reason === 'expired') this.setData({ e164 })
      // @ts-expect-error -- no such status
      if (status === 'unknown') this.setData({ e164 })
    })
  },
  onUnload() { this.stop() },
  onResult({ detail }: ResultEvent) {
    if (detail.outcome === 'no_login') this.setData({ errMsg: detail.errMsg })
    // @ts-expect-error -- no such outcome
    if (detail.outcome === 'cancelled') this.setData({})
    if (detail.outcome !== 'success') return
    const answer: PhoneAnswer = detail.data
    session.save(answer)
    session.save({ code: 0, data: answer })
  },
  buy() {
    session.request({
      url: 'https://shop.example.com/orders', method: 'POST', data: { item: 1 },
      success: ({ statusCode }) => this.setData({ statusCode }),
    })
    session.renew(({ status }) => this.setData({ status }))
    session.header(header => wx.connectSocket({ url: 'wss://shop.example.com', header }))
    session.clear()
  },
})
