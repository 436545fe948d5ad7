// @ts-check
// What the user reads. {seconds} and {requestId} are filled in.

const zh = {
  button: { normal: '手机号快捷登录', sending: '正在登录…', waiting: '正在登录…', offline: '重试' },
  note: {
    waiting: '系统繁忙，{seconds} 秒后自动重试',
    no_login: '网络不通，请检查网络后重试',
    success: '登录成功',
    refused: '您没有授权手机号',
    no_quota: '手机号登录暂时不可用，请换一种方式登录',
    button_failed: '没有取到手机号，请重试或换一种方式登录',
    tap_again: '登录没有成功，请再点一次',
    later: '暂时无法登录，请稍后再试',
    failed: '登录失败，请联系客服 {requestId}',
  },
}

/** @type {typeof zh} */
const en = {
  button: { normal: 'Log in with phone number', sending: 'Logging in…', waiting: 'Logging in…', offline: 'Try again' },
  note: {
    waiting: 'Busy. Trying again in {seconds} s',
    no_login: 'No connection. Please check the network and try again',
    success: 'Logged in',
    refused: 'You did not share your phone number',
    no_quota: 'Phone login is not available now. Please log in another way',
    button_failed: 'WeChat gave no phone number. Please try again or log in another way',
    tap_again: 'That did not work. Please tap again',
    later: 'Login is not possible now. Please try again later',
    failed: 'Login failed. Please contact support {requestId}',
  },
}

module.exports = { zh, en }
