const assert = require('node:assert/strict')
const { test } = require('node:test')
const { read, retryDelay } = require('../components/phone-login/answer')

test('the action decides, or the status if there is no known action', () => {
  const action = (statusCode, data) => read({ statusCode, data }).action
  const got = {}
  const want = {}
  const check = (name, gotAction, wantAction) => { got[name] = gotAction; want[name] = wantAction }
  for (const known of ['login', 'tap', 'retry', 'wait', 'fix', 'none']) {
    check(known, action(500, { error: 'x', action: known }), known)
  }
  for (const [status, expected] of Object.entries({
    429: 'wait', 400: 'fix', 404: 'fix', 413: 'fix', 500: 'login', 502: 'login', 503: 'login', 504: 'login',
  })) {
    check(`${status} of the gateway`, action(Number(status), { message: 'text' }), expected)
    check(`${status} with HTML`, action(Number(status), '<html>'), expected)
    check(`${status} with an unknown action`, action(Number(status), { error: 'x', action: 'unknown' }), expected)
  }
  check('a captive portal', action(200, '<html>'), 'login')
  check('null', action(200, null), 'login')
  check('204', action(204, ''), 'login')
  check('a success', action(200, { phoneNumber: '13580006666' }), 'success')
  assert.deepEqual(got, want)
  assert.deepEqual(read(null), { action: 'login', error: 'no_answer', after: 0 })
})

test('retry-after is read in any case, and ignored if it is not a positive number', () => {
  const after = header => read({ statusCode: 429, data: {}, header }).after
  assert.equal(after({ 'retry-after': '60' }), 60000)
  assert.equal(after({ 'Retry-After': '7' }), 7000)
  for (const value of ['', '-1', 'Wed, 21 Oct 2015 07:28:00 GMT']) {
    assert.equal(after({ 'retry-after': value }), 0, `retry-after: ${value}`)
  }
  assert.equal(after(undefined), 0, 'without headers')
  assert.equal(after({}), 0, 'without retry-after')
})

test('delays grow, are never shorter than retry-after, and end', () => {
  const all = answer => [0, 1, 2, 3].map(retries => retryDelay(answer, retries, 0))
  assert.deepEqual(all({ action: 'retry', after: 0 }), [1000, 2000, 4000, -1])
  assert.deepEqual(all({ action: 'retry', after: 1500 }), [1500, 2000, 4000, -1])
  assert.deepEqual(all({ action: 'wait', after: 0 }), [5000, 15000, -1, -1])
  assert.deepEqual(all({ action: 'wait', after: 60000 }), [60000, 60000, -1, -1])
  assert.equal(retryDelay({ action: 'wait', after: 60000 }, 0, 1), 75000)
  for (const action of ['success', 'login', 'tap', 'fix', 'none']) {
    assert.equal(retryDelay({ action, after: 1 }, 0, 0), -1, action)
  }
})
