using System;
using System.IO;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace SecretBridge;

/// <summary>
/// The channel's streams. On Linux both descriptors move out of reach of native commands, and /dev/null and the log take
/// their place; elsewhere a native command still reaches them, which the core is told by `guarded`.
/// </summary>
public static class Descriptors
{
    private const int DuplicateAndCloseOnExec = 1030;

    /// <summary>The descriptors were moved.</summary>
    public static bool Guarded { get; private set; }

    /// <summary>Moves the descriptors where that can be done, and opens the channel.</summary>
    public static void OpenChannel()
    {
        if (!OperatingSystem.IsLinux())
        {
            Channel.Open(Console.OpenStandardInput(), Console.OpenStandardOutput());
            return;
        }
        // From 3 up, so that a private one never lands on a standard number.
        int source = Duplicate(0, DuplicateAndCloseOnExec, 3);
        int sink = Duplicate(1, DuplicateAndCloseOnExec, 3);
        using SafeFileHandle nowhere = File.OpenHandle("/dev/null");
        int moved = Replace(nowhere.DangerousGetHandle().ToInt32(), 0);
        if (source < 0 || sink < 0 || moved < 0 || Replace(2, 1) < 0)
        {
            throw new InvalidOperationException("the descriptors could not be moved");
        }
        Guarded = true;
        Channel.Open(Open(source, FileAccess.Read), Open(sink, FileAccess.Write));
    }

    // No buffer of its own: the wire reads and writes whole blocks.
    private static FileStream Open(int descriptor, FileAccess access) =>
        new(new SafeFileHandle(new IntPtr(descriptor), true), access, 0, false);

    [DllImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static extern int Duplicate(int descriptor, int command, int lowest);

    [DllImport("libc", EntryPoint = "dup2", SetLastError = true)]
    private static extern int Replace(int from, int to);
}
