// @ts-check
// Remembers the user from one visit to the next. It keeps the identity token and renews it
// with wx.login(), which needs no tap.

const { read, retryDelay } = require('./answer')
const { codes } = require('./codes')
const wechat = require('./wechat')

const KEY = 'phone-login-session'
const MINUTE = 60 * 1000

/**
 * @typedef {import('./session').State} State
 * @typedef {import('./session').Answer & {renewed?: boolean, reason?: State['reason']}} LoginAnswer
 * @typedef {import('./wechat').Failure} Failure
 *
 * What is kept until the next visit. Times are of the phone's clock, in milliseconds.
 * @typedef {{token: string, savedAt: number, life: number, openid?: string, unionid?: string, e164?: string}} Kept
 */

class Session {
  constructor() {
    this.url = ''
    this.appid = ''
    this.headers = {}
    this.data = {}
    /** @type {import('./answer').Envelope} */
    this.envelope = { field: '', value: '' }
    this.dataField = ''
    /** @type {Kept | null} */
    this.kept = null
    /** @type {State} */
    this.state = { status: 'asking' }
    /** @type {((state: State) => void)[]} */
    this.watchers = []
    /** @type {((state: State) => void)[]} */
    this.waiting = [] // for the renewal that is under way
    this.renewing = false
    this.renewals = 0 // so far: only the last one's answer counts
    this.cancel = () => {}
  }

  /** @param {import('./session').Options} options */
  open({ url, appid = '', header = {}, data = {}, successField = '', successValue = '0', dataField = '' }) {
    this.url = url
    this.appid = appid
    this.headers = header
    this.data = data
    this.envelope = { field: successField, value: String(successValue) }
    this.dataField = dataField
    const kept = wechat.load(KEY)
    this.kept = kept && typeof kept.token === 'string' && kept.life > 0 ? kept : null
    this.change({ status: 'asking' })
    this.start()
  }

  /** @param {(state: State) => void} f */
  watch(f) {
    this.watchers.push(f)
    f(this.state)
    return () => { this.watchers = this.watchers.filter(other => other !== f) }
  }

  /** @param {any} data the body of a success */
  save(data) { this.finish(this.keep(this.unwrap(data)) ? { status: 'known' } : NO_TOKEN) }

  clear() {
    this.kept = null
    wechat.remove(KEY)
    this.finish({ status: 'tap', reason: 'new' })
  }

  /** @param {(state: State) => void} [done] */
  renew(done = () => {}) {
    const { status } = this.state
    if (this.fresh() && (status === 'known' || status === 'tap')) return done(this.state)
    this.waiting.push(done)
    this.start()
  }

  /** @param {WechatMiniprogram.RequestOption} options */
  request(options) {
    if (this.fresh()) this.send(options, true)
    else this.renewAndSend(options)
  }

  /** @param {(header: Record<string, string>) => void} done */
  header(done) {
    const pass = () => done(this.valid() ? this.authorization() : {})
    if (this.fresh()) return pass()
    this.waiting.push(pass)
    this.start()
  }

  // The token.

  /**
   * unwrap returns the function's answer from the body of a success. A page may already have unwrapped it.
   * @param {any} body
   * @returns {LoginAnswer}
   */
  unwrap(body) { return body && body[this.dataField] || body || {} }

  authorization() { return { Authorization: `Bearer ${/** @type {Kept} */ (this.kept).token}` } }

  /** age is the token's age in milliseconds. It is infinite if the phone's clock was set back. */
  age() {
    const age = this.kept ? wechat.now() - this.kept.savedAt : -1
    return age < 0 ? Infinity : age
  }

  /** valid reports whether the token has not expired. */
  valid() { return this.kept !== null && this.age() < this.kept.life }

  /** fresh reports whether the token lives long enough for a request. */
  fresh() { return this.kept !== null && this.age() < this.kept.life - Math.min(MINUTE, this.kept.life / 10) }

  /**
   * keep keeps the token of an answer. It returns false if there is none.
   * @param {LoginAnswer} answer
   */
  keep({ token, expiresIn, openid, unionid, e164 }) {
    if (typeof token !== 'string' || typeof expiresIn !== 'number') return false
    this.kept = { token, savedAt: wechat.now(), life: expiresIn * 1000, openid, unionid, e164 }
    wechat.store(KEY, this.kept)
    return true
  }

  // The renewal. Everything that needs a new token waits for the same one.

  start() {
    if (this.renewing) return
    this.renewing = true
    this.attempt(++this.renewals, 0)
  }

  /**
   * attempt logs in. The code waits until no button needs its own.
   * @param {number} renewal
   * @param {number} retries so far
   */
  attempt(renewal, retries) {
    wechat.checkOnline(online => {
      if (renewal !== this.renewals) return
      if (!online) return this.finish({ status: 'offline', error: 'offline' })
      this.cancel = codes.take((code, failure) => {
        if (!code) {
          return this.finish({ status: 'offline', error: 'no_login', errMsg: failure.errMsg, errno: failure.errno })
        }
        const appid = this.appid || wechat.appid()
        const token = this.kept ? { token: this.kept.token } : {}
        const data = Object.assign({}, this.data, { code }, appid ? { appid } : {}, token)
        wechat.post({ url: this.url, header: this.headers, data }, (response, failure) => {
          if (renewal === this.renewals) this.handle(read(response, failure, this.envelope), renewal, retries)
        })
      })
    })
  }

  /**
   * @param {import('./answer').Answer} answer
   * @param {number} renewal
   * @param {number} retries so far
   */
  handle(answer, renewal, retries) {
    const { action, error, message, requestId, errMsg, errno } = answer
    if (action === 'success') return this.accept(this.unwrap(answer.data))
    /** @param {State['status']} status */
    const finish = status => this.finish({ status, error, message, requestId, errMsg, errno })
    if (action === 'fix' || action === 'none') return finish('failed')
    // Unlike a tap, a new code costs nothing, so even a lost answer leads to a retry.
    const pause = action === 'wait' ? answer : Object.assign({}, answer, { action: 'retry' })
    const ms = retryDelay(pause, retries, wechat.random())
    if (ms < 0) return finish('offline')
    this.cancel = wechat.schedule(ms, () => this.attempt(renewal, retries + 1))
  }

  /** @param {LoginAnswer} answer */
  accept(answer) {
    const sent = this.kept !== null
    if (!this.keep(answer)) return this.finish(NO_TOKEN)
    if (answer.renewed) return this.finish({ status: 'known' })
    this.finish({ status: 'tap', reason: sent ? answer.reason : 'new' })
  }

  /**
   * finish ends a renewal, or cancels one that is under way, and tells everything that waits.
   * @param {State} state
   */
  finish(state) {
    this.cancel()
    this.cancel = () => {}
    this.renewing = false
    this.renewals++
    this.change(state)
    const { waiting } = this
    this.waiting = []
    for (const done of waiting) done(this.state)
  }

  /** @param {State} state */
  change(state) {
    // At first nobody knows whose phone it is.
    const { openid, unionid, e164 } = state.status !== 'asking' && this.kept || /** @type {Partial<Kept>} */ ({})
    this.state = Object.assign({ openid, unionid, e164 }, state)
    for (const f of this.watchers) f(this.state)
  }

  // Requests.

  /** @param {WechatMiniprogram.RequestOption} options */
  renewAndSend(options) {
    this.waiting.push(state => {
      if (this.valid()) return this.send(options, false)
      const errMsg = `request:fail no token: ${state.status} ${state.error}`
      end(options, 'fail', Object.assign({}, state, { errMsg: state.errMsg || errMsg }))
    })
    this.start()
  }

  /**
   * @param {WechatMiniprogram.RequestOption} options
   * @param {boolean} again whether it may renew the token and send the request again
   */
  send(options, again) {
    const { token } = /** @type {Kept} */ (this.kept)
    // The phone's clock is not the server's. No token lives less than a minute.
    const suspect = () => again && (!this.kept || this.kept.token !== token || this.age() >= MINUTE)
    const copy = Object.assign({}, options, {
      header: Object.assign({}, options.header, this.authorization()),
      /** @param {any} response */
      success: response => {
        // A gateway that refuses the token does not pass the request on.
        if (this.refuses(response) && suspect()) return this.sendAgain(options, token)
        end(options, 'success', response)
      },
      /** @param {any} failure */
      fail: failure => {
        // WeChat on a PC may report a 401 this way, but also a request that was served.
        if ((options.method || 'GET') !== 'GET') return end(options, 'fail', failure)
        wechat.checkOnline(online => {
          if (online && suspect()) this.sendAgain(options, token)
          else end(options, 'fail', failure)
        })
      },
    })
    delete copy.complete // end() calls it
    wechat.request(copy)
  }

  /**
   * refuses reports whether a response asks for another token. An envelope does so by its action.
   * @param {import('./answer').Response} response
   */
  refuses(response) {
    if (response.statusCode === 401) return true
    const { action, status } = read(response, {}, this.envelope)
    return this.envelope.field !== '' && status === 200 && action === 'login'
  }

  /**
   * @param {WechatMiniprogram.RequestOption} options
   * @param {string} refused the token that the server refused
   */
  sendAgain(options, refused) {
    if (this.kept && this.kept.token !== refused) this.send(options, false)
    else this.renewAndSend(options)
  }
}

/** @type {State} */
const NO_TOKEN = {
  status: 'failed', error: 'no_token',
  message: 'The answer has no token: TOKEN_ISSUER is not set, or open() needs the dataField that holds the answer.',
}

/**
 * end calls the callbacks of a request.
 * @param {any} options
 * @param {'success' | 'fail'} name
 * @param {object} result
 */
function end(options, name, result) {
  if (options[name]) options[name](result)
  if (options.complete) options.complete(result)
}

const session = new Session()

module.exports = {
  Session, session, // for tests
  /** @type {typeof import('./session').open} */
  open: options => session.open(options),
  /** @type {typeof import('./session').watch} */
  watch: f => session.watch(f),
  /** @type {typeof import('./session').save} */
  save: data => session.save(data),
  /** @type {typeof import('./session').renew} */
  renew: done => session.renew(done),
  /** @type {typeof import('./session').request} */
  request: options => session.request(options),
  /** @type {typeof import('./session').header} */
  header: done => session.header(done),
  /** @type {typeof import('./session').clear} */
  clear: () => session.clear(),
}
