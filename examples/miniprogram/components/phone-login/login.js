// @ts-check
// The steps of a phone login, without wx and without a view.
//
// The login code must come from before the tap. It is renewed when it is about to
// expire and when the page comes back. It is never renewed between a tap and the end
// of its post: wx.login() may change the session key, and WeChat has sealed the phone
// number with the old one.

const { read, retryDelay } = require('./answer')

/** WeChat's lifetime of login codes and phone codes. Each works once. */
const CODE_LIFE = 5 * 60 * 1000
/** A code this old still leaves time for the consent and the post. */
const RENEW_AFTER = CODE_LIFE - 30 * 1000
/** Milliseconds before wx.login() is called again after a failure. */
const LOGIN_PAUSES = [1000, 2000, 4000]
/** The button's errno if the mini-program's quota of phone numbers is used up. */
const NO_QUOTA = 1400001

/**
 * What the login needs from the phone.
 * @typedef {object} Phone
 * @property {(done: (code: string) => void) => void} login passes '' if it gets no code
 * @property {(done: (online: boolean) => void) => void} checkOnline
 * @property {(data: object, done: (response: import('./answer').Response | null) => void) => void} post
 * @property {() => number} now
 * @property {(ms: number, f: () => void) => () => void} schedule returns a function that cancels the call
 * @property {() => number} random from 0 to 1
 *
 * What the view shows: asking (for a login code), ready (for a tap), sending,
 * waiting (to retry), offline (no login code available), stopped.
 * @typedef {'asking' | 'ready' | 'sending' | 'waiting' | 'offline' | 'stopped'} Phase
 *
 * The result of a tap, for the page.
 * @typedef {object} Result
 * @property {'success' | 'refused' | 'no_quota' | 'button_failed' | 'tap_again' | 'later' | 'failed'} outcome
 * @property {any} [data] the JSON of a success
 * @property {string} [error] the function's error, or no_answer, offline, no_code, code_expired
 * @property {number} [status] the HTTP status
 * @property {string} [message] the function's message, for the developer
 * @property {string} [requestId] finds the function's log line
 * @property {number} [errno] from the button
 * @property {string} [errMsg] from the button
 *
 * The key of the text that the user reads, and the values in the text.
 * @typedef {'' | 'waiting' | 'no_login' | Result['outcome']} Note
 * @typedef {{seconds?: number, requestId?: string}} Values
 *
 * @typedef {object} Page
 * @property {(phase: Phase, note: Note, values: Values) => void} show
 * @property {(result: Result) => void} finish
 */

class Login {
  /**
   * @param {Phone} phone
   * @param {Page} page
   */
  constructor(phone, page) {
    this.phone = phone
    this.page = page
    /** @type {{value: string, at: number} | null} */
    this.code = null // at is the time of the call to wx.login()
    this.logins = 0 // calls so far: only the last one's code counts
    this.tappedAt = 0 // 0 if no tap is pending
    this.sending = false
    this.hidden = false
    this.closed = false
    /** @type {Note} */
    this.note = ''
    this.values = {}
    this.cancel = () => {}
  }

  /** renew gets a new login code. */
  renew(failures = 0) {
    this.cancel()
    this.code = null
    const login = ++this.logins
    const at = this.phone.now()
    this.render('asking', this.note === 'no_login' ? '' : this.note, this.values)
    this.phone.login(value => {
      if (this.closed || login !== this.logins) return
      if (value) {
        this.code = { value, at }
        this.scheduleRenewal()
        this.render('ready', this.note, this.values)
      } else if (failures < LOGIN_PAUSES.length) {
        this.schedule(LOGIN_PAUSES[failures], () => this.renew(failures + 1))
      } else {
        this.render('offline', 'no_login')
      }
    })
  }

  /** scheduleRenewal renews the code before it expires, or once it has if a tap is pending. */
  scheduleRenewal() {
    if (!this.code) return
    const end = this.code.at + (this.tapPending() ? CODE_LIFE : RENEW_AFTER)
    this.schedule(end - this.phone.now(), () => { if (!this.hidden) this.renew() })
  }

  /** tapPending reports whether the user is being asked for consent and the code is still valid. */
  tapPending() {
    return this.code !== null && this.tappedAt >= this.code.at && this.codeValidAt(this.phone.now())
  }

  /** @param {number} at */
  codeValidAt(at) {
    return this.code !== null && at < this.code.at + CODE_LIFE
  }

  /** recordTap notes the time of a tap. The consent sheet that follows may hide and show the page. */
  recordTap() {
    if (this.sending) return
    this.tappedAt = this.phone.now()
    this.scheduleRenewal()
  }

  hide() {
    this.hidden = true
    this.note = '' // a note that comes while the page is hidden stays until it returns
  }

  /** show handles the page's return. It ignores the page's first appearance. */
  show() {
    if (!this.hidden) return
    this.hidden = false
    if (this.sending) return // finish() renews the code
    if (this.tapPending()) this.scheduleRenewal()
    else this.renew()
  }

  /**
   * receive handles the button's event after a tap.
   * @param {{code?: string, encryptedData?: string, iv?: string, appid?: string, errno?: number, errMsg?: string}} detail
   */
  receive(detail) {
    if (this.sending) return
    const { code, tappedAt } = this
    this.tappedAt = 0
    const { errno, errMsg } = detail
    let data
    if (detail.code) data = { phoneCode: detail.code }
    else if (detail.encryptedData && detail.iv) data = { encryptedData: detail.encryptedData, iv: detail.iv }
    else if (errno === NO_QUOTA) return this.finish({ outcome: 'no_quota', errno, errMsg })
    // iOS and Android: "getPhoneNumber:fail user deny", "…:fail:user deny".
    else if (/deny|cancel/.test(errMsg || '')) return this.finish({ outcome: 'refused', errno, errMsg })
    else return this.finish({ outcome: 'button_failed', errno, errMsg })

    // A login code from after the tap may have changed the session key.
    if (!code || tappedAt && code.at > tappedAt) return this.finish({ outcome: 'tap_again', error: 'no_code' })
    this.sending = true
    // WeChat sends the page's appid in the Referer. The stage's mini-program is another one.
    const app = detail.appid ? { appid: detail.appid } : {}
    this.send(Object.assign({ code: code.value }, data, app), 0)
  }

  /**
   * @param {object} data
   * @param {number} retries so far
   */
  send(data, retries) {
    this.cancel()
    // The user may have taken long to consent, or the phone may have slept.
    if (!this.codeValidAt(this.phone.now())) return this.finish({ outcome: 'tap_again', error: 'code_expired' })
    this.render('sending', '')
    this.phone.checkOnline(online => {
      if (this.closed) return
      // Without a network nothing was sent, so a retry is safe.
      if (!online) return this.handle({ action: 'retry', error: 'offline', after: 0 }, data, retries)
      this.phone.post(data, response => this.handle(read(response), data, retries))
    })
  }

  /**
   * handle retries or finishes.
   * @param {import('./answer').Answer} answer
   * @param {object} data
   * @param {number} retries so far
   */
  handle(answer, data, retries) {
    if (this.closed) return
    const { error, status, message, requestId } = answer
    /** @param {Result['outcome']} outcome */
    const finish = outcome => this.finish({ outcome, error, status, message, requestId })
    switch (answer.action) {
      case 'success':
        return this.finish({ outcome: 'success', data: answer.data })
      case 'login':
      case 'tap':
        return finish('tap_again')
      case 'fix':
      case 'none':
        return finish('failed')
    }
    const ms = retryDelay(answer, retries, this.phone.random())
    if (ms < 0 || !this.codeValidAt(this.phone.now() + ms)) return finish('later')
    this.render('waiting', 'waiting', { seconds: Math.ceil(ms / 1000) })
    this.schedule(ms, () => this.send(data, retries + 1))
  }

  /**
   * finish ends a tap and drops its login code, which may be used.
   * @param {Result} result
   */
  finish(result) {
    this.cancel()
    this.sending = false
    this.code = null
    const { outcome, requestId } = result
    const stopped = outcome === 'failed' // another tap would fail too, and may cost the owner money
    this.render(stopped ? 'stopped' : 'asking', outcome, { requestId })
    if (!stopped && !this.hidden) this.renew() // if hidden, show() renews
    this.page.finish(result) // last, because the page may remove the component
  }

  /**
   * @param {Phase} phase
   * @param {Note} note
   * @param {Values} values
   */
  render(phase, note, values = {}) {
    this.note = note
    this.values = values
    this.page.show(phase, note, values)
  }

  /**
   * schedule replaces the scheduled call, if there is one.
   * @param {number} ms
   * @param {() => void} f
   */
  schedule(ms, f) {
    this.cancel()
    this.cancel = this.phone.schedule(ms, f)
  }

  close() {
    this.cancel()
    this.closed = true
  }
}

module.exports = { Login }
