"""Serves a Roundup tracker on loopback: `serve.py TRACKER PORT`."""
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from roundup.cgi.wsgi_handler import RequestDispatcher


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


make_server("127.0.0.1", int(sys.argv[2]), RequestDispatcher(sys.argv[1]), Threads, Quiet).serve_forever()
