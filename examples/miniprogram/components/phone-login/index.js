// @ts-check
// The component: a button, a line of text, and the event result.

const { Login } = require('./login')
const { Stage } = require('./stage')
const texts = require('./texts')
const wechat = require('./wechat')

/** @typedef {import('./login').Page} Page */

Component({
  properties: {
    /** Where to post: the function's /phone, or your own backend, which calls it. */
    url: String,
    /** The dearer button, which verifies the number anew each time. */
    realtime: Boolean,
    /** make start's /tap, in place of wx.login() and of the button. Never in production. */
    stage: String,
  },

  data: {
    phase: 'asking',
    openType: '',
    label: '',
    note: '',
  },

  lifetimes: {
    attached() {
      const text = wechat.chinese() ? texts.zh : texts.en
      const stage = this.data.stage ? new Stage(this.data.stage) : null
      const login = new Login(
        Object.assign({}, wechat, {
          /** @type {typeof wechat.login} */
          login: done => (stage || wechat).login(done),
          /** @type {import('./login').Phone['post']} */
          post: (data, done) => wechat.post(this.data.url, data, done),
        }),
        {
          show: (phase, note, values) => {
            const button = /** @type {Record<string, string>} */ (text.button)
            this.setData({
              phase,
              openType: stage || phase === 'offline' ? '' : this.data.realtime ? 'getRealtimePhoneNumber' : 'getPhoneNumber',
              label: button[phase] || text.button.normal,
              note: !note ? '' : text.note[note]
                .replace('{seconds}', String(values.seconds))
                .replace('{requestId}', values.requestId || '').trim(),
            })
          },
          end: result => this.triggerEvent('result', result),
        }
      )
      // Not in data, which is the view's and must not hold codes.
      Object.assign(this, { login, stage })
      login.renew()
    },
    detached() { own(this).login.close() },
  },

  pageLifetimes: {
    show() { own(this).login.show() },
    hide() { own(this).login.hide() },
  },

  methods: {
    onTap() {
      const { login, stage } = own(this)
      if (this.data.phase === 'offline') return login.renew()
      login.tapped()
      if (stage) login.handedOver(stage.detail)
    },

    /** @param {WechatMiniprogram.CustomEvent} event */
    onPhone(event) { own(this).login.handedOver(event.detail) },
  },
})

/**
 * own gives what attached() has put beside the component's data.
 * @param {any} component
 * @returns {{login: Login, stage: Stage | null}}
 */
function own(component) { return component }
