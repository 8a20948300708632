"""Bytes <-> plain XML <-> fields, and nothing else: no HTTP, no clock, no kinds of messages."""

from typing import Literal

Mode = Literal["plain", "compatible", "safe"]
"""消息加解密方式, as the settings page calls it."""

HELLO = "微信公众号服务运行正常。此地址供微信服务器回调，请填写到公众平台「服务器配置」的 URL 中。\n"
"""What a GET without any parameter shows: somebody has opened the address in a browser."""
