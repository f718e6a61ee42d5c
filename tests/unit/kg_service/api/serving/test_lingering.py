import asyncio
import socket
import struct

from kg_service.api.serving.lingering import LingeringTransport

RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def test_a_close_after_the_clients_reset_ends_the_connection_without_an_error():
    """The server does not read when the reset comes, as while requests wait for those before them: nothing told it."""

    async def run():
        loop = asyncio.get_running_loop()
        made, lost = loop.create_future(), loop.create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport):
                transport.pause_reading()
                made.set_result(transport)

            def connection_lost(self, exc):
                lost.set_result(exc)

        server = await loop.create_server(Server, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        transport = await made
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        client.close()
        lingering = LingeringTransport(transport, loop, lambda: True)
        lingering.close()
        assert lingering.is_closing()
        assert not lingering.lingers
        assert await asyncio.wait_for(lost, 20) is None
        server.close()

    asyncio.run(run())
