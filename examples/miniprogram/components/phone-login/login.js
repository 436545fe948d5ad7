// @ts-check
// The steps of a phone login, without a view: from a tap to its result.

const { read, retryDelay } = require('./answer')
const { codes } = require('./codes')
const wechat = require('./wechat')

/** The button's errno if the mini-program's quota of phone numbers is used up. */
const NO_QUOTA = 1400001

/**
 * @typedef {import('./index').Result} Result
 * @typedef {import('./wechat').Failure} Failure
 *
 * What the view shows: asking (for a login code), ready (for a tap), sending,
 * waiting (to retry), offline (no login code available), stopped.
 * @typedef {'asking' | 'ready' | 'sending' | 'waiting' | 'offline' | 'stopped'} Phase
 *
 * The key of the text that the user reads, and the values in the text.
 * @typedef {'' | 'waiting' | 'no_network' | Result['outcome']} Note
 * @typedef {{seconds?: number, requestId?: string}} Values
 *
 * @typedef {(response: import('./answer').Response | null, failure: Failure) => void} Posted
 *
 * @typedef {object} Page
 * @property {(data: object, done: Posted) => void} post
 * @property {() => import('./answer').Envelope} envelope
 * @property {(phase: Phase, note: Note, values: Values) => void} show
 * @property {(result: Result) => void} finish
 *
 * The detail of the button's event.
 * @typedef {{code?: string, encryptedData?: string, iv?: string} & Failure} Detail
 */

class Login {
  /** @param {Page} page */
  constructor(page) {
    this.page = page
    /** @type {Phase} */
    this.phase = 'asking'
    /** @type {Note} */
    this.note = ''
    this.values = {}
    this.tapped = false // and the event has not arrived
    this.sending = false
    /** @type {object | null} */
    this.unsent = null // the event's data, while there is no login code
    this.hidden = false
    this.closed = false
    this.cancel = () => {}
  }

  open() { codes.join(this) }

  /** retry gets a login code after failures. */
  retry() { codes.renew() }

  /**
   * update follows what codes says about the login code.
   * @param {'asking' | 'ready' | 'offline'} state
   * @param {Failure} failure
   */
  update(state, failure) {
    const keep = this.note === 'no_network' || this.note === 'no_login' ? '' : this.note
    if (state !== 'offline') this.render(state, keep, this.values)
    if (state === 'ready' && this.unsent) this.post(this.unsent)
    if (state === 'offline') this.reportNoLogin(failure)
  }

  /** @param {Failure} failure of wx.login() */
  reportNoLogin({ errMsg, errno }) {
    wechat.checkOnline(online => {
      if (this.closed || codes.calling) return // the page is gone, or was hidden and shown again
      this.unsent = null
      this.render('offline', online ? 'no_login' : 'no_network')
      this.page.finish({ outcome: 'no_login', error: online ? undefined : 'offline', errMsg, errno })
    })
  }

  /** recordTap holds the login code. The consent sheet that follows may hide and show the page. */
  recordTap() {
    if (this.sending || this.phase === 'stopped') return
    this.tapped = true
    codes.hold(this)
  }

  hide() {
    this.hidden = true
    this.note = '' // a note that appears while the page is hidden stays until it returns
    codes.leave(this)
  }

  /** show handles the page's return. It ignores the page's first appearance. */
  show() {
    if (!this.hidden) return
    this.hidden = false
    codes.join(this)
  }

  /**
   * receive handles the button's event. Each tap has one.
   * @param {Detail} detail
   */
  receive(detail) {
    if (!this.tapped || this.sending) return
    this.tapped = false
    const { errno, errMsg } = detail
    if (detail.code) return this.post({ phoneCode: detail.code })
    if (detail.encryptedData && detail.iv) return this.post({ encryptedData: detail.encryptedData, iv: detail.iv })
    this.finish({ outcome: refusal(detail), errno, errMsg })
  }

  /**
   * post posts the data of a tap, as soon as there is a login code.
   * @param {object} data
   */
  post(data) {
    this.unsent = null
    const code = codes.use(this)
    // A login code from after the tap may have changed the session key.
    if (code === null) return this.finish({ outcome: 'tap_again', error: 'no_code' })
    if (code === '') {
      this.unsent = data
      return
    }
    this.sending = true
    this.send(Object.assign({ code }, data), 0)
  }

  /**
   * @param {object} data
   * @param {number} retries so far
   */
  send(data, retries) {
    this.cancel()
    // The user may have taken long to consent, or the phone may have slept.
    if (!codes.validAt(wechat.now())) return this.finish({ outcome: 'tap_again', error: 'code_expired' })
    this.render('sending', '')
    wechat.checkOnline(online => {
      if (this.closed) return
      // Without a network nothing was sent, so a retry is safe.
      if (!online) return this.handle({ action: 'retry', error: 'offline', after: 0 }, data, retries)
      this.page.post(data, (response, failure) =>
        this.handle(read(response, failure, this.page.envelope()), data, retries))
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
    const { error, status, message, requestId, errMsg, errno } = answer
    /** @param {Result['outcome']} outcome */
    const finish = outcome =>
      this.finish({ outcome, data: answer.data, error, status, message, requestId, errMsg, errno })
    switch (answer.action) {
      case 'success':
        return finish('success')
      case 'login':
      case 'tap':
        return finish('tap_again')
      case 'fix':
      case 'none':
        return finish('failed')
    }
    const ms = retryDelay(answer, retries, wechat.random())
    if (ms < 0 || !codes.validAt(wechat.now() + ms)) return finish('later')
    this.render('waiting', 'waiting', { seconds: Math.ceil(ms / 1000) })
    this.cancel = wechat.schedule(ms, () => this.send(data, retries + 1))
  }

  /**
   * finish ends a tap.
   * @param {Result} result
   */
  finish(result) {
    this.reset()
    const { outcome, requestId } = result
    const stopped = outcome === 'failed' // another tap would fail too, and may cost the owner money
    this.render(stopped ? 'stopped' : 'asking', outcome, { requestId })
    if (stopped) codes.leave(this)
    codes.release(this)
    this.page.finish(result) // last, because the page may remove the component
  }

  /** reset forgets the tap. */
  reset() {
    this.cancel()
    this.tapped = false
    this.sending = false
    this.unsent = null
  }

  /**
   * @param {Phase} phase
   * @param {Note} note
   * @param {Values} values
   */
  render(phase, note, values = {}) {
    this.phase = phase
    this.note = note
    this.values = values
    this.page.show(phase, note, values)
  }

  close() {
    this.cancel()
    this.closed = true
    codes.leave(this)
    codes.release(this)
  }
}

/**
 * refusal returns the outcome of an event without a phone number.
 * @param {Detail} detail
 * @returns {Result['outcome']}
 */
function refusal({ errno, errMsg = '' }) {
  if (errno === NO_QUOTA) return 'no_quota'
  // https://developers.weixin.qq.com/miniprogram/dev/framework/user-privacy/PrivacyAuthorize.html
  if (errno === 104 || /privacy permission is not authorized/.test(errMsg)) return 'privacy_refused'
  if (errno === 112 || /not declared in the privacy agreement/.test(errMsg)) return 'privacy_undeclared'
  // iOS and Android: "getPhoneNumber:fail user deny", "…:fail:user deny".
  return /deny|cancel/.test(errMsg) ? 'refused' : 'button_failed'
}

module.exports = { Login }
