"""gunicorn 的设置。在机器人 bot.py 所在的目录运行：gunicorn -c gunicorn.conf.py bot:server"""

import logging
import os

# 每次推送一行，没有内容，也没有密钥。
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

# 只听本机，由 nginx 转发；与 run() 用同样的两个环境变量。
bind = f"{os.environ.get('WX_MP_HOST', '127.0.0.1')}:{os.environ.get('WX_MP_PORT', '5001')}"

# 等待中的慢消息各占一个线程，线程很便宜。每个进程最多等 240 个（WX_MP_MAX_HELD）；人多时微信已经挂断的那次还没退出，
# 下一次就来了，所以是两倍，其余给快的消息。
worker_class = "gthread"
workers = 2  # 去重和答案在 SQLite 文件里，同一台机器的几个进程共用
threads = 512

# 停止或重启时，先等已收到的请求（最多 5.2 秒），再等处理函数（WX_MP_GRACE，25 秒）；须大于两者之和。
graceful_timeout = 35

keepalive = 2  # 秒；nginx 每次推送新开一个本机连接，不需要更长

# 访问日志写到标准输出，由 systemd 收进 journal。用 %(U)s（只有路径），不用 %(r)s 和 %(q)s：
# 查询参数里有签名和用户的 openid。第一栏是 nginx 看到的地址。
accesslog = "-"
access_log_format = '%({x-forwarded-for}i)s "%(m)s %(U)s" %(s)s %(b)s %(L)ss'

control_socket_disable = True  # gunicorn 25 起的管理接口要写主目录，而服务没有主目录；旧版忽略这一行
