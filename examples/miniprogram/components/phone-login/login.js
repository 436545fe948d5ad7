// @ts-check
// The course of a phone login, without wx and without a view.
//
// A login code is got before the tap, and renewed when it nears its end or the
// page comes back; but never between a tap and the end of its post, since
// wx.login() may change the key with which WeChat has sealed the phone number.

const { read, pause } = require('./answer')

/** What WeChat gives a login code and a phone code: five minutes, and one use. */
const CODE_LIFE = 5 * 60 * 1000
/** Renewed then, a code in hand has time left for a consent and a post. */
const RENEW_AFTER = CODE_LIFE - 30 * 1000
/** Milliseconds before wx.login() is tried again. */
const LOGIN_PAUSES = [1000, 2000, 4000]
/** The button's errno where the mini-program's owner has no phone numbers left. */
const NO_QUOTA = 1400001

/**
 * What the login needs of the phone.
 * @typedef {object} Phone
 * @property {(done: (code: string) => void) => void} login gives '' where there is no code
 * @property {(done: (online: boolean) => void) => void} online
 * @property {(data: object, done: (response: import('./answer').Response | null) => void) => void} post
 * @property {() => number} now
 * @property {(ms: number, f: () => void) => () => void} later returns what cancels it
 * @property {() => number} chance 0 to 1
 *
 * What the view shows: asking (for a login code), ready (for a tap), sending,
 * waiting (to send again), offline (no login code to be had), stopped.
 * @typedef {'asking' | 'ready' | 'sending' | 'waiting' | 'offline' | 'stopped'} Phase
 *
 * How a tap ended, for the page.
 * @typedef {object} Result
 * @property {'success' | 'refused' | 'no_quota' | 'button_failed' | 'tap_again' | 'later' | 'failed'} outcome
 * @property {any} [data] the answer's JSON, of a success
 * @property {string} [error] the function's, or no_answer, offline, no_code, code_expired
 * @property {number} [status] HTTP's
 * @property {string} [message] the function's, for the developer
 * @property {string} [requestId] finds the function's log line
 * @property {number} [errno] the button's
 * @property {string} [errMsg] the button's
 *
 * What the user reads, with values filled in.
 * @typedef {'' | 'waiting' | 'no_login' | Result['outcome']} Note
 * @typedef {{seconds?: number, requestId?: string}} Values
 *
 * @typedef {object} Page
 * @property {(phase: Phase, note: Note, values: Values) => void} show
 * @property {(result: Result) => void} end
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
    this.code = null // at is when it was asked for
    this.asked = 0 // logins so far: only the last one's code counts
    this.tappedAt = 0 // 0 where nothing is known of a tap
    this.sending = false
    this.hidden = false
    this.closed = false
    /** @type {Note} */
    this.note = ''
    this.values = {}
    this.cancel = () => {}
  }

  /** renew gets a login code. */
  renew(failed = 0) {
    this.cancel()
    this.code = null
    const asked = ++this.asked
    const at = this.phone.now()
    this.view('asking', this.note === 'no_login' ? '' : this.note, this.values)
    this.phone.login(value => {
      if (this.closed || asked !== this.asked) return
      if (value) {
        this.code = { value, at }
        this.watch()
        this.view('ready', this.note, this.values)
      } else if (failed < LOGIN_PAUSES.length) {
        this.later(LOGIN_PAUSES[failed], () => this.renew(failed + 1))
      } else {
        this.view('offline', 'no_login')
      }
    })
  }

  /** watch renews the code in time: while a tap holds it, when it is worthless. */
  watch() {
    if (!this.code) return
    const end = this.code.at + (this.held() ? CODE_LIFE : RENEW_AFTER)
    this.later(end - this.phone.now(), () => { if (!this.hidden) this.renew() })
  }

  /** held is whether a tap waits for the user's consent, with a code that lives. */
  held() {
    return this.code !== null && this.tappedAt >= this.code.at && this.lives(this.phone.now())
  }

  /** @param {number} at */
  lives(at) {
    return this.code !== null && at < this.code.at + CODE_LIFE
  }

  /** tapped: the consent sheet, which comes now, may hide and show the page. */
  tapped() {
    if (this.sending) return
    this.tappedAt = this.phone.now()
    this.watch()
  }

  hide() {
    this.hidden = true
    this.note = '' // what comes meanwhile is shown on return
  }

  /** show is for every return, and not for the page's first appearance. */
  show() {
    if (!this.hidden) return
    this.hidden = false
    if (this.sending) return // renews at its end
    if (this.held()) this.watch()
    else this.renew()
  }

  /**
   * handedOver takes what the button hands over after a tap.
   * @param {{code?: string, encryptedData?: string, iv?: string, errno?: number, errMsg?: string}} detail
   */
  handedOver(detail) {
    if (this.sending) return
    const { code, tappedAt } = this
    this.tappedAt = 0
    const { errno, errMsg } = detail
    let data
    if (detail.code) data = { phoneCode: detail.code }
    else if (detail.encryptedData && detail.iv) data = { encryptedData: detail.encryptedData, iv: detail.iv }
    else if (errno === NO_QUOTA) return this.end({ outcome: 'no_quota', errno, errMsg })
    // iOS and Android: "getPhoneNumber:fail user deny", "…:fail:user deny".
    else if (/deny|cancel/.test(errMsg || '')) return this.end({ outcome: 'refused', errno, errMsg })
    else return this.end({ outcome: 'button_failed', errno, errMsg })

    // Only a code from before the tap is sent.
    if (!code || tappedAt && code.at > tappedAt) return this.end({ outcome: 'tap_again', error: 'no_code' })
    this.sending = true
    this.send(Object.assign({ code: code.value }, data), 0)
  }

  /**
   * @param {object} data
   * @param {number} repeated
   */
  send(data, repeated) {
    this.cancel()
    // The user took long to consent, or the phone slept.
    if (!this.lives(this.phone.now())) return this.end({ outcome: 'tap_again', error: 'code_expired' })
    this.view('sending', '')
    this.phone.online(online => {
      if (this.closed) return
      // What surely was not sent may be sent later; what may have been may not.
      if (!online) return this.follow({ action: 'retry', error: 'offline', after: 0 }, data, repeated)
      this.phone.post(data, response => this.follow(read(response), data, repeated))
    })
  }

  /**
   * @param {import('./answer').Answer} answer
   * @param {object} data
   * @param {number} repeated
   */
  follow(answer, data, repeated) {
    if (this.closed) return
    const { error, status, message, requestId } = answer
    /** @param {Result['outcome']} outcome */
    const end = outcome => this.end({ outcome, error, status, message, requestId })
    switch (answer.action) {
      case 'success':
        return this.end({ outcome: 'success', data: answer.data })
      case 'login':
      case 'tap':
        return end('tap_again')
      case 'fix':
      case 'none':
        return end('failed')
    }
    const ms = pause(answer, repeated, this.phone.chance())
    if (ms < 0 || !this.lives(this.phone.now() + ms)) return end('later')
    this.view('waiting', 'waiting', { seconds: Math.ceil(ms / 1000) })
    this.later(ms, () => this.send(data, repeated + 1))
  }

  /**
   * end is that of a tap. Its codes are used, or may be.
   * @param {Result} result
   */
  end(result) {
    this.cancel()
    this.sending = false
    this.code = null
    const { outcome, requestId } = result
    const stopped = outcome === 'failed' // a tap would be in vain, and may cost the owner money
    this.view(stopped ? 'stopped' : 'asking', outcome, { requestId })
    if (!stopped && !this.hidden) this.renew() // else show() does
    this.page.end(result) // last, since the page may now take the component away
  }

  /**
   * @param {Phase} phase
   * @param {Note} note
   * @param {Values} values
   */
  view(phase, note, values = {}) {
    this.note = note
    this.values = values
    this.page.show(phase, note, values)
  }

  /**
   * @param {number} ms
   * @param {() => void} f
   */
  later(ms, f) {
    this.cancel()
    this.cancel = this.phone.later(ms, f)
  }

  close() {
    this.cancel()
    this.closed = true
  }
}

module.exports = { Login }
