"""A PJSIP phone that refuses calls: interop/pjsip/phone.py ADDRESS PORT. Prints "listening" once it does."""

import sys

import pjsua2 as pj


class Account(pj.Account):
    def onIncomingCall(self, incoming):
        call = pj.Call(self, incoming.callId)
        busy = pj.CallOpParam()
        busy.statusCode = pj.PJSIP_SC_BUSY_HERE
        call.hangup(busy)


endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = 1
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
endpoint.libInit(config)
transport = pj.TransportConfig()
transport.boundAddress, transport.port = sys.argv[1], int(sys.argv[2])
endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()
own = pj.AccountConfig()
own.idUri = f"sip:bob@{sys.argv[1]}"
account = Account()
account.create(own)
print("listening", flush=True)
while True:
    endpoint.libHandleEvents(50)
