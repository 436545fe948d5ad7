// The test rig: the stage with the function's real bootstrap, a phone, and the
// rendered component. Only what WeChat alone can provide is mocked.

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const crypto = require('node:crypto')
const { once } = require('node:events')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const readline = require('node:readline')
const { JSDOM } = require('jsdom')

const root = path.join(__dirname, '..')
const built = path.join(root, '../../build/local') // make test-miniprogram builds it

// miniprogram-simulate needs a browser's globals. jsdom dispatches only events of
// its own classes, not of Node's.
const { window } = new JSDOM('<!DOCTYPE html><body></body>')
Object.assign(global, { window, document: window.document })
for (const name of ['Event', 'CustomEvent', 'TouchEvent']) global[name] = window[name]
const simulate = require('miniprogram-simulate')

// The component logs nothing. miniprogram-simulate logs only problems.
const consoleCalls = []
for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = (...args) => consoleCalls.push(args)

// A call that a launch forgets must not keep the tests from ending.
const { setTimeout: start } = global
global.setTimeout = (f, ms, ...args) => {
  const timer = start(f, ms, ...args)
  return ms === 12000 ? timer.unref() : timer
}

/** waitFor waits up to 10 s for a condition. what names it, as in "a post". */
async function waitFor(what, condition) {
  const end = performance.now() + 10000
  while (!condition()) {
    assert(performance.now() < end, `timed out waiting for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** settle waits a settle, so that anything that must not happen could happen. */
const settle = () => new Promise(resolve => setTimeout(resolve, 50))

const cleanups = []
process.on('exit', () => cleanups.forEach(cleanup => cleanup()))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** The mini-program that the stage knows. It is made up. */
const APPID = 'wx0000000000000000'

/** startStage starts a stage. If wechat is set, its function calls WeChat at that URL. */
async function startStage({ wechat } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wechat-phone-'))
  const args = ['-bootstrap', path.join(built, 'bootstrap'), '-route', 'POST /phone', '-route', 'POST /login']
  if (wechat) {
    const secret = path.join(dir, 'secret.json')
    fs.writeFileSync(secret, JSON.stringify({ appid: APPID, secret: '0123456789abcdef0123456789abcdef' }))
    args.push('-wechat', wechat, '-secret', secret)
  }
  const child = spawn(path.join(built, 'stage'), args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const cleanup = () => {
    child.kill('SIGTERM')
    fs.rmSync(dir, { recursive: true, force: true })
  }
  cleanups.push(cleanup)
  const exited = once(child, 'exit')
  const stage = { close: () => { cleanup(); return exited } }
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const [, name, url] = /^(phone function|WeChat|Secrets Manager) +(http:\S+)/.exec(line) || []
    if (name === 'phone function') Object.assign(stage, { url, loginUrl: url.replace(/phone$/, 'login') })
    if (name === 'WeChat') stage.wechat = url
    if (name === 'Secrets Manager') stage.secrets = url
    stage.process = stage.process || Number((/^process +(\d+)/.exec(line) || [])[1])
    if (/Ctrl-C/.test(line)) break
  }
  assert(stage.url, 'the stage did not start')
  if (stage.secrets) stage.keys = new Keys(stage)
  return stage
}

/** Keys are the stage's signing keys. */
class Keys {
  constructor(stage) {
    this.stage = stage
    this.privateKeys = new Map() // by kid, retired ones too
  }

  async call(operation, input) {
    const { text } = await send(this.stage.secrets, {
      method: 'POST', body: JSON.stringify({ SecretId: 'wechat-phone-signing', ...input }),
      headers: { 'x-amz-target': `secretsmanager.${operation}`, authorization: 'AWS4-HMAC-SHA256 made-up' },
    })
    return JSON.parse(text)
  }

  async read() {
    const keys = JSON.parse((await this.call('GetSecretValue')).SecretString)
    for (const { kid, privateKey } of keys) {
      if (privateKey) {
        const der = { key: Buffer.from(privateKey, 'base64'), format: 'der', type: 'pkcs8' }
        this.privateKeys.set(kid, crypto.createPrivateKey(der))
      }
    }
    return keys
  }

  /** rotate does what make key does a day after the last time, and restarts the function. */
  async rotate() {
    const keys = await this.read()
    const now = new Date().toISOString().replace(/\.\d+/, '')
    const next = keys.find(key => !key.signsFrom)
    const signing = keys.find(key => key.signsFrom && !key.retired)
    next.signsFrom = signing.retired = now
    const key = crypto.createPublicKey(this.privateKeys.get(signing.kid))
    signing.publicKey = key.export({ format: 'der', type: 'spki' }).toString('base64')
    delete signing.privateKey
    keys.push(newKey(now))
    await this.call('PutSecretValue', { SecretString: JSON.stringify(keys), ClientRequestToken: crypto.randomUUID() })
    process.kill(this.stage.process, 'SIGKILL')
    let status
    do { // the first request may still go to the old process
      status = (await send(this.stage.url, { method: 'POST', body: '{}' })).statusCode
    } while (status >= 500)
  }

  /**
   * age makes a token older: it moves its times back and signs it again. To the function,
   * whose clock no test can move, this is the same as a clock that moved forward.
   */
  async age(token, ms) {
    const [header, payload] = token.split('.').slice(0, 2).map(part => JSON.parse(Buffer.from(part, 'base64url')))
    await this.read()
    for (const name of ['iat', 'exp', 'auth_time', 'phone_number_verified_at']) {
      if (payload[name]) payload[name] -= Math.round(ms / 1000)
    }
    const text = [header, payload].map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${text}.${crypto.sign('sha256', text, this.privateKeys.get(header.kid)).toString('base64url')}`
  }
}

function newKey(created) {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 })
  const { e, n } = publicKey.export({ format: 'jwk' })
  const kid = crypto.createHash('sha256').update(JSON.stringify({ e, kty: 'RSA', n })).digest('base64url')
  return { kid, created, privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64') }
}

/** listen starts a server that passes each request and its body to serve. */
async function listen(serve) {
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    await serve(request, response, Buffer.concat(chunks).toString())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => { server.close(); server.closeAllConnections() }
  return { url: `http://127.0.0.1:${server.address().port}`, close }
}

/** send sends an HTTP request. It keeps the case of the response's header names. */
function send(url, { method = 'GET', headers: more, body } = {}) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', ...more }
    const request = http.request(url, { method, headers, agent: false }, async response => {
      const chunks = []
      try {
        for await (const chunk of response) chunks.push(chunk)
      } catch (error) {
        return reject(error)
      }
      const header = {}
      const raw = response.rawHeaders
      for (let i = 0; i < raw.length; i += 2) header[raw[i]] = raw[i + 1]
      resolve({ statusCode: response.statusCode, header, text: Buffer.concat(chunks).toString() })
    })
    request.on('error', reject)
    request.end(body)
  })
}

const component = name => require(path.join(root, 'components/phone-login', name))
const wechat = component('wechat.js')
const real = { ...wechat }
const { Codes, codes } = component('codes.js')
const { Session, session } = component('session.js')

let users = 0
let launches = 0

/** ofThisLaunch returns a function that makes callbacks do nothing after the next launch. */
function ofThisLaunch() {
  const launch = launches
  return callback => (...args) => { if (launch === launches) callback(...args) }
}

/** Phone is a user's phone with a mock WeChat. The test controls its clock. */
class Phone {
  constructor(stage) {
    this.stage = stage
    this.user = `user-${++users}`
    this.shape = 'phone-code'
    this.online = true
    this.logins = [] // the codes from wx.login()
    this.posts = [] // the bodies of the posts to /phone
    this.renewals = [] // the bodies of the posts to /login
    this.loginFailure = null // of wx.login(), if set
    this.requestFailure = null // of wx.request(), if set
    this.tap = null // the button's data for the last login
    this.storage = new Map()
    this.time = Date.now()
    this.timers = []

    Object.assign(wechat, real, {
      now: () => this.time,
      random: () => 0,
      schedule: (ms, f) => {
        const timer = { at: this.time + ms, f }
        this.timers.push(timer)
        return () => { this.timers = this.timers.filter(other => other !== timer) }
      },
    })

    Object.assign(wx, {
      login: options => this.login(options),
      request: options => this.request(options),
      getNetworkType: ({ success }) => setTimeout(success, 0, { networkType: this.online ? 'wifi' : 'none' }),
      getAppBaseInfo: () => ({ language: 'en' }),
      getSystemInfoSync: () => ({ language: 'zh_CN' }),
      getAccountInfoSync: () => ({ miniProgram: { appId: APPID } }),
      // Storage holds copies, as WeChat's does.
      getStorageSync: key => JSON.parse(this.storage.get(key) || '""'),
      setStorageSync: (key, value) => this.storage.set(key, JSON.stringify(value)),
      removeStorageSync: key => this.storage.delete(key),
    })
    this.launch()
  }

  /** launch restarts the mini-program. Only the storage is left of the last visit. */
  launch() {
    launches++
    this.timers = []
    Object.assign(codes, new Codes())
    Object.assign(session, new Session())
  }

  /** jump moves all clocks forward while the phone sleeps: no timer fires. */
  async jump(ms) {
    this.time += ms
    const kept = wx.getStorageSync('phone-login-session')
    if (!kept) return
    kept.token = await this.stage.keys.age(kept.token, ms)
    if (session.kept) session.kept.token = kept.token
    wx.setStorageSync('phone-login-session', kept)
  }

  // WeChat answers only the launch that called it.

  login({ success, fail }) {
    const answer = ofThisLaunch()
    return this.getCode({ success: answer(success), fail: answer(fail) })
  }

  request(options) {
    const answer = ofThisLaunch()
    const { success, fail = () => {}, complete = () => {} } = options
    return this.getResponse({ ...options, success: answer(success), fail: answer(fail), complete: answer(complete) })
  }

  async getCode({ success, fail }) {
    this.logins.push('')
    const nth = this.logins.length - 1
    if (this.loginFailure) return setTimeout(fail, 0, this.loginFailure)
    if (!this.online) return setTimeout(fail, 0, { errMsg: 'login:fail' })
    let answer
    try {
      answer = await send(`${this.stage.wechat}/tap?user=${this.user}&shape=${this.shape}`)
    } catch (error) { // the stage is closed
      return fail({ errMsg: 'login:fail' })
    }
    const { code, appid, ...tap } = JSON.parse(answer.text) // WeChat's button gives no appid
    this.logins[nth] = code
    // The component ignores a code if a newer login has begun.
    if (nth === this.logins.length - 1) this.tap = tap.phoneCode ? { code: tap.phoneCode } : tap
    success({ code, errMsg: 'login:ok' })
  }

  /** send sends a request as wx.request does, with the Referer that no page can change. */
  send(url, options) {
    const referer = `https://servicewechat.com/${APPID}/0/page-frame.html`
    return send(url, { ...options, headers: { ...options.headers, referer } })
  }

  async getResponse({ url, method = 'GET', header, data, success, fail, complete }) {
    if (this.requestFailure) {
      setTimeout(fail, 0, this.requestFailure)
      return setTimeout(complete, 0, this.requestFailure)
    }
    const body = method === 'POST' ? JSON.stringify(data) : undefined
    if (body) (url.endsWith('/login') ? this.renewals : this.posts).push(JSON.parse(body))
    const query = data && !body ? `${url.includes('?') ? '&' : '?'}${new URLSearchParams(data)}` : ''
    let response
    try {
      response = await this.send(url + query, { method, body, headers: header })
    } catch (error) {
      fail({ errMsg: 'request:fail' })
      return complete({ errMsg: 'request:fail' })
    }
    const { text, ...rest } = response
    let answer = text
    try { answer = JSON.parse(text) } catch (error) { /* like WeChat, keep the text */ }
    success({ ...rest, data: answer })
    complete({ ...rest, data: answer })
  }

  /** advance moves the component's clock forward and fires timers, including new ones. */
  async advance(ms) {
    const end = this.time + ms
    for (;;) {
      const [next] = this.timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)
      if (!next) break
      this.timers = this.timers.filter(timer => timer !== next)
      this.time = Math.max(this.time, next.at)
      next.f()
      await settle()
    }
    this.time = end
  }
}

let id

/** Page is a page with the component. */
class Page {
  constructor(phone, properties) {
    id = id || simulate.load(path.join(root, 'components/phone-login/index'), 'phone-login', { rootPath: root })
    this.phone = phone
    this.component = simulate.render(id, properties)
    this.results = []
    this.component.addEventListener('result', ({ detail }) => this.results.push(detail))
    this.component.attach(document.body)
  }

  /** definition is the component's id, for pages that use it. */
  get definition() { return id }

  get button() {
    const { dom } = this.component.querySelector('.button')
    const attributes = {}
    for (const { name, value } of this.component.querySelector('.button').toJSON().attrs) attributes[name] = value
    return { ...attributes, text: dom.textContent }
  }

  get note() { return this.component.querySelector('.note').dom.textContent }

  async ready() { await waitFor('the button to be enabled', () => !this.button.disabled) }

  /** touch touches the button once it is enabled, or at once if even is 'disabled'. */
  async touch(even = '') {
    if (even !== 'disabled') await this.ready()
    const button = this.component.querySelector('.button')
    button.dispatchEvent('touchstart')
    button.dispatchEvent('touchend')
    await settle()
  }

  /** emit sends the button's event, which follows a touch. */
  emit(detail, event = 'getphonenumber') {
    this.component.querySelector('.button').dispatchEvent(event, { detail })
  }

  /** consent touches the button and agrees. */
  async consent() {
    await this.touch()
    this.emit({ errMsg: 'getPhoneNumber:ok', ...this.phone.tap })
  }

  /** result waits for the nth result. */
  async result(nth = 1) {
    await waitFor(`result ${nth}`, () => this.results.length >= nth)
    return this.results[nth - 1]
  }

  hide() { this.component.triggerPageLifeTime('hide') }
  show() { this.component.triggerPageLifeTime('show') }
  detach() { this.component.detach() }
}

module.exports = {
  APPID, Page, Phone, codes, consoleCalls, listen, root, send, session, settle, simulate, startStage, waitFor, wechat,
}
