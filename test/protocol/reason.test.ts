import t from 'tap'
import { connectReturnCode, ReasonCode, reasonName, reasonOfReturnCode } from '../../src/protocol/reason.ts'

t.test('every reason code of the specification has a name of its own', async (t) => {
  const codes = Object.values(ReasonCode)
  t.equal(new Set(codes).size, codes.length)
  t.equal(codes.length, 43)
  t.equal(reasonName(ReasonCode.quotaExceeded), 'quotaExceeded')
  t.equal(reasonName(0x42), '0x42')
})

t.test('a return code of 3.1.1 stands for a reason and back', async (t) => {
  for (let returnCode = 0; returnCode <= 5; returnCode++) {
    t.equal(connectReturnCode(reasonOfReturnCode(returnCode) as ReasonCode), returnCode)
  }
  t.equal(reasonOfReturnCode(6), undefined)
  t.equal(reasonOfReturnCode(255), undefined)
})
