"""股票提醒公众号：「设置 5」存涨跌幅阈值，「订阅 600519 000001」存股票代码，其他文字学你说。运行 python stock_bot.py。"""

import os
import re
import sqlite3
import time
import unicodedata
from contextlib import closing
from pathlib import Path

from wx_mp_svr import WxMpServer

DATABASE = os.environ.get("STOCK_DB", Path(__file__).with_name("stock.db"))

server = WxMpServer()


def store(sql, *values):
    # 每次新开一个连接，多线程、多进程都安全；别人正在写的时候最多等 10 秒。
    with closing(sqlite3.connect(DATABASE, timeout=10)) as db, db:
        db.execute(sql, values)


store("CREATE TABLE IF NOT EXISTS users (openid TEXT PRIMARY KEY, threshold REAL, stocks TEXT)")


@server.text(re.compile(r"设置[\s:：]*(?P<value>.*)", re.DOTALL))
def set_threshold(req, value):
    number = re.fullmatch(r"(\d{1,2}(\.\d{1,2})?)%?", half_width(value), re.ASCII)
    if not number or not 0 < float(number[1]) <= 20:
        return "没有设置：阈值是涨跌幅的百分数，大于 0，不超过 20，最多两位小数，例如：设置 5"
    store(
        "INSERT INTO users (openid, threshold) VALUES (?, ?) "
        "ON CONFLICT (openid) DO UPDATE SET threshold = excluded.threshold",
        req.openid,
        float(number[1]),
    )
    return f"设置成功 \n {now()}"


@server.text(re.compile(r"订阅[\s:：]*(?P<value>.*)", re.DOTALL))
def subscribe_stocks(req, value):
    stocks = list(dict.fromkeys(re.split(r"[\s,;、]+", half_width(value))))
    if len(stocks) > 20 or not all(re.fullmatch(r"\d{6}", stock, re.ASCII) for stock in stocks):
        return "没有订阅：请写 1 到 20 个六位数的股票代码，用空格隔开，例如：订阅 600519 000001"
    store(
        "INSERT INTO users (openid, stocks) VALUES (?, ?) ON CONFLICT (openid) DO UPDATE SET stocks = excluded.stocks",
        req.openid,
        " ".join(stocks),
    )
    return f"订阅成功 \n {now()}"


@server.text
def repeat(req):
    return f"我来学你说：{req.content} \n {now()}"


def half_width(value):
    """中文输入法打出的「５％」「，」换成半角。"""
    return unicodedata.normalize("NFKC", value).strip()


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S")


if __name__ == "__main__":
    server.run()
