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
  check('the function\'s error, passed on with 200', action(200, { error: 'x', action: 'tap' }), 'tap')
  check('a success', action(200, { phoneNumber: '13580006666' }), 'success')
  check('201', action(201, { session: 'x' }), 'success')
  check('204', action(204, ''), 'success')
  check('text', action(200, 'session'), 'success')
  check('null', action(200, null), 'success')
  check('an error without an action', action(200, { error: '' }), 'success')
  check('a redirect', action(302, ''), 'login')
  assert.deepEqual(got, want)
})

test('an envelope is a success only with the right value in its field', () => {
  const envelope = (field, value) => ({ field, value })
  const action = (data, expected, status = 200) => read({ statusCode: status, data }, {}, expected).action
  const got = {}
  const want = {}
  const check = (name, gotAction, wantAction) => { got[name] = gotAction; want[name] = wantAction }
  check('a number', action({ code: 0 }, envelope('code', '0')), 'success')
  check('a string', action({ code: 'OK' }, envelope('code', 'OK')), 'success')
  check('a boolean', action({ success: true }, envelope('success', 'true')), 'success')
  check('another value', action({ code: 50001, msg: 'x' }, envelope('code', '0')), 'none')
  check('another value, with an action', action({ code: 50001, action: 'login' }, envelope('code', '0')), 'login')
  check('no such field', action({ data: {} }, envelope('code', '0')), 'none')
  check('no object', action('<html>', envelope('code', '0')), 'none')
  check('no envelope', action({ code: 50001 }, envelope('', '0')), 'success')
  check('a 500', action({ code: 0 }, envelope('code', '0'), 500), 'login')
  assert.deepEqual(got, want)
})

test('only a failure that no retry can fix is final', () => {
  const got = {}
  const want = {}
  for (const [errMsg, errno, action] of [
    ['request:fail url not in domain list', 600002, 'fix'],
    ['request:fail', 600002, 'fix'],
    ['request:fail url not in domain list', undefined, 'fix'],
    ['request:fail errcode:-202 cronet_error_code:-202 error_msg:net::ERR_CERT_AUTHORITY_INVALID', 600001, 'fix'],
    ['request:fail -107:net::ERR_SSL_PROTOCOL_ERROR', 600001, 'fix'],
    ['request:fail ssl hand shake error', undefined, 'fix'],
    ['request:fail 此服务器的证书无效。', 600001, 'fix'],
    ['request:fail 发生了SSL错误，无法建立与该服务器的安全连接。', 600001, 'fix'],
    ['request:fail invalid url', 600009, 'fix'],
    ['request:fail net::ERR_CLEARTEXT_NOT_PERMITTED', 600001, 'fix'],
    ['request:fail timeout', 5, 'login'],
    ['request:fail -105:net::ERR_NAME_NOT_RESOLVED', 600001, 'login'],
    ['request:fail errcode:-118 cronet_error_code:-118 error_msg:net::ERR_CONNECTION_TIMED_OUT', 600001, 'login'],
    ['request:fail interrupted', 600003, 'login'],
    [undefined, undefined, 'login'],
  ]) {
    const answer = read(null, { errMsg, errno })
    got[`${errMsg} ${errno}`] = answer
    const error = action === 'fix' ? 'cannot_connect' : 'no_answer'
    want[`${errMsg} ${errno}`] = { action, error, errMsg, errno, after: 0 }
  }
  assert.deepEqual(got, want)
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
