#nullable enable
using System;
using System.IO;
using System.IO.Pipes;
using System.Security.Principal;
using System.Threading;
using System.Threading.Tasks;

namespace SecretBridge
{
    /// <summary>A named pipe that this user may tell a token: the one thing here that differs between systems.</summary>
    public static class OwnPipe
    {
        private const string LocalSystem = "S-1-5-18";
        private const string Administrators = "S-1-5-32-544";

        /// <summary>Connects to the pipe of this name. Throws where it may be a stranger's: anybody may make a pipe of any
        /// name. What is at the other end cannot act as this user.</summary>
        /// <remarks>On Windows <c>CurrentUserOnly</c> asks that the pipe's owner be what this token gives new things to.
        /// In an elevated PowerShell that is the group of administrators, and the server's pipe is its user's in either
        /// case.</remarks>
        public static async ValueTask<Stream> ConnectAsync(string name, CancellationToken cancel)
        {
            bool hasOwners = OperatingSystem.IsWindows();
            PipeOptions options = PipeOptions.Asynchronous | (hasOwners ? PipeOptions.None : PipeOptions.CurrentUserOnly);
            var pipe = new NamedPipeClientStream(".", name, PipeDirection.InOut, options, TokenImpersonationLevel.Identification);
            try
            {
                await pipe.ConnectAsync(cancel).ConfigureAwait(false);
                if (hasOwners) { Check(pipe, name); }
                return pipe;
            }
            catch
            {
                await pipe.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }

        /// <summary>Whether this owner is the user, what the user's token gives new things to, the administrators or the
        /// system. An ordinary user can make a pipe of none of them but of himself. The identifiers are as SDDL writes
        /// them.</summary>
        public static bool IsTrusted(string? owner, string? user, string? ownerOfNewThings) =>
            !string.IsNullOrEmpty(owner)
            && (owner == user || owner == ownerOfNewThings || owner == LocalSystem || owner == Administrators);

        private static void Check(NamedPipeClientStream pipe, string name)
        {
            using WindowsIdentity us = WindowsIdentity.GetCurrent();
            string? owner = pipe.GetAccessControl().GetOwner(typeof(SecurityIdentifier))?.Value;
            if (!IsTrusted(owner, us.User?.Value, us.Owner?.Value))
            {
                throw new UnauthorizedAccessException($"the pipe '{name}' is another user's ({owner ?? "nobody's"})");
            }
        }
    }
}
