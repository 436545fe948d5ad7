// The phone: it runs the mini-program's own component and session on a mock wx.

import files from './component.mjs'

/** What the phone keeps between visits, and its user, by appid. */
const storage = {}

/** forget makes the next visit a new user's. */
export function forget(appid) {
  storage[appid] = { user: `user-${crypto.randomUUID()}`, values: {} }
}

/**
 * launch opens the mini-program. view has the values appid, language, shape() and referer(),
 * and gets user(number, whether to show the button), button(phase, label, note) and
 * answered(response, whether it is of a visit without a tap).
 */
export function launch(view) {
  if (!storage[view.appid]) forget(view.appid)
  const { user, values } = storage[view.appid]
  let open = true
  /** call fetches, unless the mini-program is closed before or after that. */
  async function call(path, options, { success, fail, complete }) {
    let result, answer
    try {
      if (!open) return
      const response = await fetch(path, options)
      const text = await response.text()
      result = { statusCode: response.status, data: parse(text), header: Object.fromEntries(response.headers) }
      answer = success
    } catch (error) {
      result = { errMsg: String(error) }
      answer = fail
    }
    if (!open) return
    if (options.method === 'POST') view.answered(result, path.startsWith('/stage/login'))
    if (answer) answer(result)
    if (complete) complete(result)
  }
  let code = '' // from the last wx.login()

  const wx = {
    login: ({ success, fail }) => call(`/login?user=${user}&appid=${view.appid}`, {},
      { fail, success: ({ data }) => { code = data.code; success(data) } }),
    request({ url, method = 'GET', header, data, ...callbacks }) {
      const headers = { 'Content-Type': 'application/json', ...header }
      const query = method === 'POST' ? `?appid=${view.referer()}` : ''
      call(url + query, { method, headers, body: data && JSON.stringify(data) }, callbacks)
    },
    getNetworkType: ({ success }) => success({ networkType: 'wifi' }),
    getAppBaseInfo: () => ({ language: view.language }),
    getAccountInfoSync: () => ({ miniProgram: { appId: view.appid } }),
    getStorageSync: key => values[key],
    setStorageSync: (key, value) => { values[key] = structuredClone(value) },
    removeStorageSync: key => { delete values[key] },
  }

  const loaded = {}
  const require = name => {
    const file = name.replace('./', '')
    if (!loaded[file]) files[file](require, loaded[file] = { exports: {} }, wx)
    return loaded[file].exports
  }
  const { Login } = require('./login')
  const wechat = require('./wechat')
  const session = require('./session')
  const text = require('./texts')[view.language]
  let login = null

  /** attach shows the button, as the component does in WeChat. */
  function attach() {
    login = new Login({
      post: (codes, done) => wechat.post({ url: '/stage/phone', data: { ...codes, appid: view.appid } }, done),
      envelope: () => ({ field: '', value: '' }),
      show: (phase, note, { seconds, requestId = '' }) => view.button(phase, text.button[phase] || text.button.normal,
        note && text.note[note].replace('{seconds}', seconds).replace('{requestId}', requestId).trim()),
      finish: ({ outcome, data }) => { if (outcome === 'success') session.save(data) },
    })
    login.open()
  }
  function detach() {
    if (login) login.close()
    login = null
  }
  session.open({ url: '/stage/login' })
  session.watch(state => {
    const known = state.status === 'known' || state.status === 'offline' && state.e164
    const button = !known && state.status !== 'asking'
    if (!button) detach()
    view.user(known ? state.e164 : '', button)
    if (button && !login) attach()
  })

  return {
    close() {
      open = false
      detach()
    },
    forget: () => session.clear(),
    /** touch is the user's tap on the button. It returns whether WeChat asks for consent. */
    touch() {
      if (login.phase === 'offline') login.retry()
      if (login.phase !== 'ready' || login.tapped) return false
      login.recordTap()
      return login.tapped
    },
    /** consent answers WeChat's question. */
    consent(allowed) {
      const refused = () => login.receive({ errMsg: 'getPhoneNumber:fail user deny' })
      if (!allowed) return refused()
      const success = ({ data }) => login.receive({ ...data, code: data.phoneCode })
      call(`/tap?code=${code}&shape=${view.shape()}`, {}, { success, fail: refused })
    },
    /** request sends a request with the token. */
    request: (url, done) => session.request({ url, complete: done }),
    read: require('./answer').read,
  }
}

/** parse parses JSON. If text is not JSON, it returns text. */
export function parse(text) {
  try { return JSON.parse(text) } catch (error) { return text }
}
