#nullable enable
using System;
using System.IO;
using System.Net.Http;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace SecretBridge
{
    /// <summary>Leads every connection of a client to one Unix socket, or to one named pipe.</summary>
    public sealed class SocketDoor
    {
        private const string Pipe = "pipe:";

        private readonly string place;

        /// <summary>A door to the socket at this path, or to the pipe of <c>pipe:NAME</c>.</summary>
        public SocketDoor(string place) => this.place = place;

        /// <summary>What a handler calls for each connection.</summary>
        public Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>> Callback =>
            place.StartsWith(Pipe, StringComparison.OrdinalIgnoreCase)
                ? (_, cancel) => OwnPipe.ConnectAsync(place[Pipe.Length..], cancel)
                : ConnectAsync;

        private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(place), cancel).ConfigureAwait(false);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }
}
