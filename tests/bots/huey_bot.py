"""A bot whose handlers run in huey's workers: ``huey_consumer huey_bot.huey -w 2``."""

import os

from huey import RedisHuey
from talk import on_message, on_subscribe

from wx_mp_svr import WxMpServer

server = WxMpServer(on_message=on_message, on_subscribe=on_subscribe)
huey = RedisHuey(url=os.environ["BROKER"])


@huey.task()
def work(job):
    server.run_job(job)


server.runner = work
