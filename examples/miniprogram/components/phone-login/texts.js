// @ts-check
// The texts for the user. The component fills in {seconds} and {requestId}.

const zh = {
  button: { normal: '手机号快捷登录', sending: '登录中…', waiting: '登录中…', offline: '重试' },
  note: {
    waiting: '暂时无法登录，{seconds} 秒后自动重试',
    no_network: '网络异常，请检查网络后重试',
    no_login: '微信登录失败，请重试',
    success: '登录成功',
    refused: '你已拒绝授权手机号',
    no_quota: '手机号登录暂不可用，请使用其他方式登录',
    privacy_refused: '需要你同意隐私保护指引，才能使用手机号登录',
    privacy_undeclared: '手机号登录暂不可用，请使用其他方式登录',
    button_failed: '获取手机号失败，请重试或使用其他方式登录',
    tap_again: '登录未成功，请再次点击按钮',
    later: '暂时无法登录，请稍后再试',
    failed: '登录失败，请联系客服。{requestId}',
  },
}

/** @type {typeof zh} */
const en = {
  button: {
    normal: 'Log in with phone number', sending: 'Logging in…', waiting: 'Logging in…', offline: 'Try again',
  },
  note: {
    waiting: 'Busy. Trying again in {seconds} s',
    no_network: 'No connection. Check the network and try again',
    no_login: 'WeChat could not log you in. Please try again',
    success: 'Logged in',
    refused: 'You did not share your phone number',
    no_quota: 'Phone login is not available right now. Please log in another way',
    privacy_refused: 'Phone login needs your consent to the privacy guide',
    privacy_undeclared: 'Phone login is not available right now. Please log in another way',
    button_failed: 'WeChat returned no phone number. Try again or log in another way',
    tap_again: 'Login did not work. Please tap again',
    later: 'You cannot log in right now. Please try again later',
    failed: 'Login failed. Please contact support {requestId}',
  },
}

module.exports = { zh, en }
