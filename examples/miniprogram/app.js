// @ts-check
const { loginUrl, stage } = require('./config')
const session = require('./components/phone-login/session')

if (stage) require('./stage').use(stage)

App({
  onLaunch() { session.open({ url: loginUrl }) },
  onShow() { session.renew() }, // after a failure, or if the token expired meanwhile
})
