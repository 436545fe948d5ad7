// @ts-check
// stage: make start makes up login codes and phone numbers.
// real: WeChat's own. Put your appid into project.config.json.
const mode = 'stage'

const modes = {
  stage: {
    url: 'http://127.0.0.1:3000/phone',
    loginUrl: 'http://127.0.0.1:3000/login',
    stage: 'http://127.0.0.1:3001/tap?shape=phone-code', // for sealed data, as in older versions, drop the query
  },
  real: {
    url: 'https://phone.example.com/phone', // your deployment, or http://127.0.0.1:3000/phone
    loginUrl: 'https://phone.example.com/login',
    stage: '',
  },
}

module.exports = modes[/** @type {keyof modes} */ (mode)]
