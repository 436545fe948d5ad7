// Calls a function of a module with each line of standard input, a JSON list of arguments.
// It answers each with a line: {"value":…}, or {"error":…,"status":…} if the function threw.
import { createInterface } from 'node:readline'

const [file, name] = process.argv.slice(2)
const call = (await import(file))[name]

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await call(...JSON.parse(line)).then(
    value => ({ value }), error => ({ error: String(error), status: error.status }))
  process.stdout.write(JSON.stringify(answer) + '\n')
}
