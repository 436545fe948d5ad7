// @ts-check
// The component: a button, a line of text, and the event result.

const { Login } = require('./login')
const texts = require('./texts')
const wechat = require('./wechat')

Component({
  externalClasses: ['button-class', 'note-class'],

  properties: {
    /** Where to post: the function's /phone, or your backend, which calls the function. */
    url: String,
    /** Use the more expensive button, which verifies the number on each tap. */
    realtime: Boolean,
    /** Accept no tap, for example until the user has agreed to your terms. */
    disabled: Boolean,
    /** The button's text while it waits for a tap. */
    label: String,
    /** Additional headers of the post. */
    header: Object,
    /** Additional fields of the post. */
    data: Object,
    /** The mini-program's appid, if it is not the one that WeChat names. */
    appid: String,
    /** For a backend that answers 200 to everything: the field that tells a success, … */
    successField: String,
    /** … and its value then. */
    successValue: { type: String, value: '0' },
  },

  data: {
    phase: 'asking',
    openType: '',
    phaseText: '', // replaces the label
    normalText: '', // replaces a missing label
    note: '',
  },

  lifetimes: {
    attached() {
      const text = wechat.isChinese() ? texts.zh : texts.en
      const login = new Login({
        post: (codes, done) => {
          const { url, header, data } = this.data
          const appid = this.data.appid || wechat.appid()
          wechat.post({ url, header: header || {}, data: Object.assign({}, data, codes, appid ? { appid } : {}) }, done)
        },
        envelope: () => ({ field: this.data.successField, value: this.data.successValue }),
        show: (phase, note, values) => {
          const button = /** @type {Record<string, string>} */ (text.button)
          const openType = this.data.realtime ? 'getRealtimePhoneNumber' : 'getPhoneNumber'
          this.setData({
            phase,
            openType: wechat.tap || phase === 'offline' ? '' : openType,
            phaseText: button[phase] || '',
            normalText: text.button.normal,
            note: !note ? '' : text.note[note]
              .replace('{seconds}', String(values.seconds))
              .replace('{requestId}', values.requestId || '').trim(),
          })
        },
        finish: result => this.triggerEvent('result', result),
      })
      // Kept out of data, which belongs to the view and must not hold codes.
      Object.assign(this, { login })
      login.open()
    },
    detached() { loginOf(this).close() },
  },

  pageLifetimes: {
    show() { loginOf(this).show() },
    hide() { loginOf(this).hide() },
  },

  methods: {
    onTap() {
      const login = loginOf(this)
      if (this.data.disabled) return // the view may disable the button late
      if (this.data.phase === 'offline') return login.retry()
      login.recordTap()
      const { tap } = wechat
      if (tap) login.receive(tap())
    },

    /** @param {WechatMiniprogram.CustomEvent} event */
    onPhone(event) { loginOf(this).receive(event.detail) },
  },
})

/**
 * loginOf returns the field that attached() sets.
 * @param {any} component
 * @returns {Login}
 */
function loginOf(component) { return component.login }
