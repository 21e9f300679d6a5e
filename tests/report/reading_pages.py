"""What a page holds, and whether it is well made."""

import html.parser
import re

# Elements without an end.
_EMPTY = {"meta", "img", "br", "hr", "link", "input"}


class Page(html.parser.HTMLParser):
    """Reads a page; an `AssertionError` if an element is not closed.

    Attributes:
        ids: list of the ids of elements.
        images: list of the attributes of pictures.
        links: list of what the page refers to.
        text: string, what a reader sees.
        cells: list of lists, the cells of each row of a table.
    """

    def __init__(self, text):
        super().__init__()
        self.ids, self.images, self.links, self.cells = [], [], [], []
        self.text, self._open = "", []
        self.feed(text)
        self.close()
        assert not self._open, self._open
        style = re.search("<style>(.*?)</style>", text, re.DOTALL)[1]
        assert "url(" not in style and "@import" not in style

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in _EMPTY:
            self._open.append(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [
            attributes[key] for key in ("src", "href") if key in attributes
        ]
        if tag == "img":
            self.images.append(attributes)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open or "title" in self._open:
            return
        self.text += data
        if self._open and self._open[-1] in ("td", "th"):
            self.cells[-1][-1] += data
