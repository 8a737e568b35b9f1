"""A PJSIP phone that is told what to do: interop/pjsip/talker.py ADDRESS PORT PLAY.wav FOLDER [OPTION=VALUE...].

Prints "listening" once it does, then what happens to its calls, which are numbered from 1. Each call plays the file and
records what it hears into FOLDER/heard-NUMBER.wav. Options: answer=STATUS (what calls are answered with at once),
reliable=always (RFC 3262), expires=SECONDS and least=SECONDS (RFC 4028). Orders, each a line on standard input:

  call URI | answer CALL STATUS | hangup CALL | hold CALL | resume CALL | update CALL
  keys CALL DIGITS | info CALL DIGIT | transfer CALL URI | connect CALL OTHER | quit
"""

import os
import select
import sys

import pjsua2 as pj

address, port, play, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
options = dict(word.split("=", 1) for word in sys.argv[5:])
calls = {}


def say(text):
    print(text, flush=True)


class Call(pj.Call):
    def __init__(self, account, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(account, call_id)
        self.account = account
        self.number = len(calls) + 1
        self.player = self.recorder = None
        calls[self.number] = self

    def onCallState(self, _):
        info = self.getInfo()
        say(f"call {self.number} {info.stateText} {info.lastStatusCode}")

    def onCallMediaState(self, _):
        info = self.getInfo()
        for index in range(len(info.media)):
            media = info.media[index]
            if media.type == pj.PJMEDIA_TYPE_AUDIO:
                say(f"call {self.number} media {media.status}")
                if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                    self.talk(self.getAudioMedia(index))

    def talk(self, audio):
        if self.player is None:
            self.player, self.recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
            self.player.createPlayer(play)
            self.recorder.createRecorder(os.path.join(folder, f"heard-{self.number}.wav"))
        self.player.startTransmit(audio)
        audio.startTransmit(self.recorder)

    def onCallTransferRequest(self, request):
        call = request.newCall = Call(self.account)
        say(f"call {call.number} as call {self.number} asks")

    def onCallReplaced(self, replaced):
        call = replaced.newCall = Call(self.account, replaced.newCallId)
        say(f"call {call.number} in the place of call {self.number}")

    def onCallTransferStatus(self, status):
        say(f"call {self.number} transfer {status.statusCode}")

    def onDtmfDigit(self, digit):
        say(f"call {self.number} key {digit.digit}")


class Account(pj.Account):
    def onIncomingCall(self, incoming):
        call = Call(self, incoming.callId)
        say(f"call {call.number} incoming")
        if "answer" in options:
            answer(call, int(options["answer"]))


def answer(call, status):
    parameters = pj.CallOpParam(True)
    parameters.statusCode = status
    call.answer(parameters)


def obey(account, order, words):
    if order == "call":
        return Call(account).makeCall(words[0], pj.CallOpParam(True))
    call = calls[int(words[0])]
    if order == "answer":
        answer(call, int(words[1]))
    elif order == "hangup":
        call.hangup(pj.CallOpParam())
    elif order == "hold":
        call.setHold(pj.CallOpParam(True))
    elif order == "resume":
        parameters = pj.CallOpParam(True)
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(parameters)
    elif order == "update":
        call.update(pj.CallOpParam(True))
    elif order == "keys":
        call.dialDtmf(words[1])
    elif order == "info":
        parameters = pj.CallSendDtmfParam()
        parameters.method, parameters.digits = pj.PJSUA_DTMF_METHOD_SIP_INFO, words[1]
        call.sendDtmf(parameters)
    elif order == "transfer":
        call.xfer(words[1], pj.CallOpParam(True))
    elif order == "connect":
        call.xferReplaces(calls[int(words[1])], pj.CallOpParam(True))


endpoint = pj.Endpoint()
endpoint.libCreate()
config = pj.EpConfig()
config.logConfig.level = config.logConfig.consoleLevel = int(options.get("log", "1"))
config.uaConfig.threadCnt = 0
config.uaConfig.mainThreadOnly = True
endpoint.libInit(config)
transport = pj.TransportConfig()
transport.boundAddress, transport.port = address, port
endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
endpoint.libStart()
endpoint.audDevManager().setNullDev()
# One codec, or it narrows each answer to one by an UPDATE of its own.
for codec in endpoint.codecEnum2():
    endpoint.codecSetPriority(codec.codecId, 128 if codec.codecId.startswith("PCMU") else 0)
own = pj.AccountConfig()
own.idUri = f"sip:{options.get('user', 'bob')}@{address}:{port}"
own.mediaConfig.transportConfig.boundAddress = address
own.mediaConfig.transportConfig.port = int(options["media"])
own.mediaConfig.transportConfig.portRange = 20
if options.get("reliable") == "always":
    own.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY
if "expires" in options:
    own.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
    own.callConfig.timerSessExpiresSec = int(options["expires"])
if "least" in options:
    own.callConfig.timerMinSESec = int(options["least"])
account = Account()
account.create(own)
say("listening")
rest = b""
while True:
    endpoint.libHandleEvents(10)
    if not select.select([0], [], [], 0)[0]:
        continue
    rest += os.read(0, 4096)
    *lines, rest = rest.split(b"\n")
    for line in lines:
        order, *words = line.decode().split()
        if order == "quit":
            # The recordings are complete when their recorders are gone.
            endpoint.hangupAllCalls()
            endpoint.libHandleEvents(100)
            endpoint.libDestroy()
            os._exit(0)
        try:
            obey(account, order, words)
        except pj.Error as error:
            say(f"cannot {order}: {error.info()}")
