const assert = require('node:assert/strict')
const { test } = require('node:test')
const { login, post } = require('../components/phone-login/wechat')

test('a call that WeChat forgets fails after its timeout, and a late answer is ignored', t => {
  const timers = []
  t.mock.method(global, 'setTimeout', (f, ms) => timers.push({ f, ms }))
  const calls = []
  global.wx = { login: options => calls.push(options), request: options => calls.push(options) }
  const got = []
  login((...args) => got.push(args))
  post({ url: 'https://phone.example.com/phone', data: {} }, (...args) => got.push(args))
  assert.deepEqual(got, [])
  for (const [i, { f, ms }] of timers.entries()) {
    assert(ms > calls[i].timeout, `got ${ms} ms, want more than WeChat's own timeout`)
    f()
    calls[i].success({ code: 'late' })
  }
  assert.deepEqual(got, [['', { errMsg: 'fail no answer' }], [null, { errMsg: 'fail no answer' }]])
})

test('an answer ends the wait', t => {
  const cleared = []
  t.mock.method(global, 'setTimeout', () => 7)
  t.mock.method(global, 'clearTimeout', timer => cleared.push(timer))
  global.wx = { login: ({ success }) => success({ code: 'c', errMsg: 'login:ok' }) }
  const got = []
  login(code => got.push(code))
  assert.deepEqual([got, cleared], [['c'], [7]])
})
