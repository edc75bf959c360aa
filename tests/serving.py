"""A web server in this process that serves one file, in good and bad ways."""

import http.server


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, in the ways of `manner`, and notes the Range header of each request."""

    def __init__(self, content, manner):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.manner, self.asked = content, manner, []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked, content = self.headers["Range"], self.server.content
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        manner = self.server.manner
        if manner == "refuses" or (manner == "has less" and asked):
            self.send_error(404 if manner == "refuses" else 416)
            return
        partial = asked and manner != "ignores ranges"
        if manner == "other offset" and partial:
            start //= 2
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        body = content[start if partial else 0 :]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if manner == "hangs up" else body)

    def log_message(self, *_):
        pass
