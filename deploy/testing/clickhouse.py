"""The engine of a current ClickHouse (chdb-core), behind as much of the HTTP interface as the gateway uses: one statement in a POST,
its settings in the address, user and password in headers, an answer of 200 or `Code: N`. It takes the file of settings that the
server of the system's packages takes, so that tests start either."""

import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

SETTINGS = ("output_format_json_quote_64bit_integers", "max_query_size", "max_execution_time")


def told(text, name):
    return re.search(f"<{name}>(.*?)</{name}>", text).group(1)


file = next(argument.split("=", 1)[1] for argument in sys.argv if argument.startswith("--config-file="))
with open(file, encoding="utf-8") as opened:
    settings = opened.read()
with open(told(settings, "users_config"), encoding="utf-8") as opened:
    password = told(opened.read(), "password")
data = told(settings, "path")
# The engine would take the files of settings beside it for its own.
os.makedirs(data, exist_ok=True)
os.chdir(data)

from chdb import session  # noqa: E402

engine = session.Session(os.path.join(data, "engine"))
# It does one thing at a time.
turn = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        query = {name: values[0] for name, values in parse_qs(urlparse(self.path).query).items()}
        statement = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if "query" in query:
            statement = query["query"] + "\n" + statement
        status, answer = self.answer(query, statement)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, query, statement):
        if self.headers.get("x-clickhouse-key") != password:
            return 403, b"Code: 516. DB::Exception: Authentication failed"
        with turn:
            try:
                engine.query("USE " + query.get("database", "default"))
                for name in SETTINGS:
                    engine.query(f"SET {name} = {query[name]}" if name in query else f"SET {name} = DEFAULT")
                return 200, engine.query(statement, "TabSeparated").bytes() or b""
            except RuntimeError as error:
                print(error, flush=True)
                return 500, str(error).encode()


ThreadingHTTPServer(("127.0.0.1", int(told(settings, "http_port"))), Handler).serve_forever()
