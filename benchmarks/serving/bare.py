"""A program that answers each request with as many zeros as it was told: what the socket alone costs.

Usage: bare.py BYTES (--port PORT | --uds PATH)
"""

from __future__ import annotations

import argparse
import socketserver
from http.client import parse_headers


def main() -> None:
    arguments = _arguments()
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % arguments.bytes, bytes(arguments.bytes)

    class Zeros(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = not arguments.uds

        def handle(self) -> None:
            while self.rfile.readline():
                self.rfile.read(int(parse_headers(self.rfile).get("content-length", "0")))
                sent = self.request.sendmsg(answer)
                self.request.sendall(memoryview(answer[1])[sent - len(answer[0]) :])

    if arguments.uds:
        server: socketserver.BaseServer = socketserver.UnixStreamServer(arguments.uds, Zeros)
    else:
        server = socketserver.TCPServer(("127.0.0.1", arguments.port), Zeros)
    server.serve_forever()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bytes", type=int)
    parser.add_argument("--port", type=int)
    parser.add_argument("--uds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
