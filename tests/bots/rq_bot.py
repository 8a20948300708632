"""A bot whose handlers run in RQ's workers: ``rq worker --config rq_bot``, which forks for each job."""

import os

from redis import Redis
from rq import Queue
from talk import on_message, on_subscribe

from wx_mp_svr import WxMpServer

# Where `rq worker --config rq_bot` looks; it also has the bot imported before it forks.
REDIS_URL = os.environ["BROKER"]

server = WxMpServer(on_message=on_message, on_subscribe=on_subscribe)
queue = Queue(connection=Redis.from_url(REDIS_URL))


def work(job):
    server.run_job(job)


server.runner = lambda job: queue.enqueue(work, job)
