"""大模型写的，变成微信看得懂的：llm_bot.py 用它，两个文件放在一起。"""

import re


class Plain:
    """把一点点到来的 Markdown 逐行变成纯文本，想的过程去掉：微信不显示 Markdown，只认得 <a>。

    said 是去掉想的过程之后的原文，好记进历史。
    """

    RULES = (
        (r"^\s*[|:*_-][ |:*_-]{2,}$", "————"),  # 分隔线、表头下面的线
        (r"^\s*\|(.*)\|\s*$", lambda row: " ｜ ".join(map(str.strip, row[1].split("|")))),  # 表格的一行
        (r"^\s*#{1,6}\s+(.*)", r"【\1】"),  # 标题
        (r"^(\s*)[-*+]\s+", r"\1• "),  # 列表
        (r"!?\[([^\[\]]+)\]\((https?://[^\s)\"]+)[^)]*\)", r'<a href="\2">\1</a>'),  # 链接、图片
        # 行内代码原样留下；粗体、斜体去掉星号，2**3 和 2 * 3 不动。
        (r"`([^`]+)`|(?<![\w)])\*\*|\*\*(?![\w(])|(?<![\w*])\*(?=[^\s*])([^*]*[^\s*])\*(?![\w*])", r"\1\2"),
    )
    # 在一行的开头才算，前面可以有引用、列表、粗体的记号；代码和句子里的 <think> 是在说它，原样留下。
    THOUGHT = re.compile(r"[\s>*_+#-]*<(think|thinking|thought)>", re.IGNORECASE)
    THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought)>[\s*_]*", re.IGNORECASE)
    rest, said, code, thinking = "", "", False, False

    def feed(self, piece):
        *lines, rest = (self.rest + piece).split("\n")
        shown = "".join(map(self.line, lines))
        waits = self.code or self.thinking
        whole = re.match(r"(?:\w[^*_`|\[\]!<]*[。！？])?", "" if waits else rest)[0]  # 没有标记的整句不等换行
        self.rest = rest[len(whole) :]
        self.said += whole
        return shown + whole

    def line(self, line):
        if self.thinking or (not self.code and self.THOUGHT.match(line)):
            *thought, line = self.THOUGHT_ENDS.split(line, maxsplit=1)
            self.thinking = not thought  # 这一行里没有想完；没有想完就结束的，后面都是想的
            line = "" if self.thinking else line
            if not line:
                return ""
        if not self.code and self.THOUGHT_ENDS.fullmatch(line):
            self.said = ""  # 没有开头：有的部署把 <think> 写在模板里，前面的都是想的
            return "————\n"
        if not self.said and not line.strip():
            return ""
        self.said += line + "\n"
        if line.lstrip().startswith(("```", "~~~")):  # 代码块的首尾
            self.code = not self.code
            return ""
        for pattern, plain in () if self.code else self.RULES:
            line = re.sub(pattern, plain, line, flags=re.ASCII)
        return line + "\n"
