"""A bot whose handlers run in Celery's workers: ``celery -A celery_bot worker --concurrency 2``."""

import os

from celery import Celery
from talk import on_message, on_subscribe

from wx_mp_svr import WxMpServer

server = WxMpServer(on_message=on_message, on_subscribe=on_subscribe)
celery = Celery("bot", broker=os.environ["BROKER"])
celery.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)
celery.conf.broker_transport_options = {"visibility_timeout": 120}


@celery.task(ignore_result=True)
def work(job):
    server.run_job(job)


server.runner = work.delay
