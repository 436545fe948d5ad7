// @ts-check
// The component: a button, a line of text, and the event result.

const { Login } = require('./login')
const { Stage } = require('./stage')
const texts = require('./texts')
const wechat = require('./wechat')

/** @typedef {import('./login').Page} Page */

Component({
  properties: {
    /** Where to post: the function's /phone, or your backend, which calls the function. */
    url: String,
    /** Use the more expensive button, which verifies the number on each tap. */
    realtime: Boolean,
    /** URL of make start's /tap, which replaces wx.login() and the button. Never use it in production. */
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
      const text = wechat.isChinese() ? texts.zh : texts.en
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
            const openType = this.data.realtime ? 'getRealtimePhoneNumber' : 'getPhoneNumber'
            this.setData({
              phase,
              openType: stage || phase === 'offline' ? '' : openType,
              label: button[phase] || text.button.normal,
              note: !note ? '' : text.note[note]
                .replace('{seconds}', String(values.seconds))
                .replace('{requestId}', values.requestId || '').trim(),
            })
          },
          finish: result => this.triggerEvent('result', result),
        }
      )
      // Kept out of data, which belongs to the view and must not hold codes.
      Object.assign(this, { login, stage })
      login.renew()
    },
    detached() { fields(this).login.close() },
  },

  pageLifetimes: {
    show() { fields(this).login.show() },
    hide() { fields(this).login.hide() },
  },

  methods: {
    onTap() {
      const { login, stage } = fields(this)
      if (this.data.phase === 'offline') return login.renew()
      login.recordTap()
      if (stage) login.receive(stage.detail)
    },

    /** @param {WechatMiniprogram.CustomEvent} event */
    onPhone(event) { fields(this).login.receive(event.detail) },
  },
})

/**
 * fields returns the component with the fields that attached() sets.
 * @param {any} component
 * @returns {{login: Login, stage: Stage | null}}
 */
function fields(component) { return component }
