using System;
using System.ComponentModel;
using System.IO;
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace SecretBridge;

/// <summary>
/// What differs between operating systems: nothing else in the worker asks which one it is on.
/// </summary>
public static class Platform
{
    /// <summary>Native commands and scripts reach the channel neither by a standard stream nor by a descriptor.</summary>
    public static bool Guarded { get; private set; }

    /// <summary>
    /// Moves the channel out of reach of native commands and opens it. In place of the standard input there is
    /// nothing to read from then on; what is written to the standard output is in the log.
    /// </summary>
    public static void OpenChannel()
    {
        if (OperatingSystem.IsWindows())
        {
            Handles.Open();
        }
        else
        {
            Descriptors.Open();
        }
        Guarded = true;
    }

    /// <summary>The folder where SecretManagement and SecretStore keep a user's files.</summary>
    public static string SecretManagement(string home) => OperatingSystem.IsWindows()
        ? Path.Combine(
            Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "Microsoft", "PowerShell", "secretmanagement")
        : Path.Combine(home, ".secretmanagement");

    /// <summary>
    /// Has SecretManagement use a registry in this folder, or the user's own if it is the user's home. Elsewhere HOME
    /// has done so already; on Windows no variable does. Gives false where the registry stays the user's own.
    /// </summary>
    public static bool MoveRegistry(Assembly module, string folder)
    {
        RegistryFile = RegistryBelow(SecretManagement(folder));
        bool isHome = string.Equals(folder, Environment.GetEnvironmentVariable("USERPROFILE"), StringComparison.OrdinalIgnoreCase);
        if (!OperatingSystem.IsWindows() || isHome)
        {
            return true;
        }
        string file = RegistryBelow(Path.Combine(folder, ".secretmanagement"));
        if (!OwnRegistry.Move(module, file))
        {
            return false;
        }
        RegistryFile = file;
        return true;
    }

    /// <summary>The registry's file, once SecretManagement is imported.</summary>
    public static string RegistryFile { get; private set; } = "";

    private static string RegistryBelow(string folder) => Path.Combine(folder, "secretvaultregistry", "vaultinfo");

    /// <summary>
    /// Leaves a file to its owner alone. On Windows it has the list of its folder, which lets nobody else in.
    /// </summary>
    public static void Protect(string path)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    /// <summary>Whether the number of an error means that there was no room on a disk.</summary>
    public static bool IsDiskFull(int number) => Array.IndexOf(DiskFull, number & 0xFFFF) >= 0;

    // The end of HResult: ENOSPC and EDQUOT (Linux, macOS), ERROR_HANDLE_DISK_FULL and ERROR_DISK_FULL (Windows).
    private static readonly int[] DiskFull = OperatingSystem.IsWindows() ? [39, 112] : [28, 122, 69];

    // No buffer of its own: the wire reads and writes whole blocks.
    private static FileStream Open(IntPtr handle, FileAccess access) => new(new SafeFileHandle(handle, true), access, 0, false);

    /// <summary>The descriptors of Linux and macOS.</summary>
    private static class Descriptors
    {
        internal static void Open()
        {
            if (OperatingSystem.IsLinux())
            {
                // Other programs of the user can then neither trace the worker nor read its memory. It holds until the
                // process ends; programs that it starts are as they always are.
                _ = SetOption(4 /* PR_SET_DUMPABLE */, 0, 0, 0, 0);
            }
            // F_DUPFD_CLOEXEC has a number of its own on macOS.
            int duplicateAndCloseOnExec = OperatingSystem.IsMacOS() ? 67 : 1030;
            // From 3 up, so that a private one never lands on a standard number.
            int source = Duplicate(0, duplicateAndCloseOnExec, 3);
            int sink = Duplicate(1, duplicateAndCloseOnExec, 3);
            using SafeFileHandle nowhere = File.OpenHandle("/dev/null");
            int moved = Replace(nowhere.DangerousGetHandle().ToInt32(), 0);
            if (source < 0 || sink < 0 || moved < 0 || Replace(2, 1) < 0)
            {
                throw new InvalidOperationException("the descriptors could not be moved");
            }
            Channel.Open(Platform.Open(new IntPtr(source), FileAccess.Read), Platform.Open(new IntPtr(sink), FileAccess.Write));
        }

        // The lowest number is one of the arguments that fcntl takes in any number. Apple's processors take such an
        // argument from the stack, behind the eight that go into registers.
        private static int Duplicate(int descriptor, int command, int lowest) =>
            OperatingSystem.IsMacOS() && RuntimeInformation.ProcessArchitecture == Architecture.Arm64
                ? Control(descriptor, command, 0, 0, 0, 0, 0, 0, lowest)
                : Control(descriptor, command, lowest);

        [DllImport("libc", EntryPoint = "fcntl", SetLastError = true)]
        private static extern int Control(int descriptor, int command, nint lowest);

        [DllImport("libc", EntryPoint = "fcntl", SetLastError = true)]
        private static extern int Control(int descriptor, int command, nint a, nint b, nint c, nint d, nint e, nint f, nint lowest);

        [DllImport("libc", EntryPoint = "prctl", SetLastError = true)]
        private static extern int SetOption(int option, nuint value, nuint third, nuint fourth, nuint fifth);

        [DllImport("libc", EntryPoint = "dup2", SetLastError = true)]
        private static extern int Replace(int from, int to);
    }

    /// <summary>The handles of Windows.</summary>
    private static class Handles
    {
        private const int Input = -10;
        private const int Output = -11;
        private const int Error = -12;
        private const uint Inherit = 1;

        internal static void Open()
        {
            IntPtr source = GetStdHandle(Input);
            IntPtr sink = GetStdHandle(Output);
            // Programs that are started inherit neither.
            Check(SetHandleInformation(source, Inherit, 0));
            Check(SetHandleInformation(sink, Inherit, 0));
            SafeFileHandle empty = File.OpenHandle("NUL", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            IntPtr nowhere = empty.DangerousGetHandle();
            // It stays open to the end: nobody closes it any more.
            empty.SetHandleAsInvalid();
            Check(SetHandleInformation(nowhere, Inherit, Inherit));
            Check(SetStdHandle(Input, nowhere));
            Check(SetStdHandle(Output, GetStdHandle(Error)));
            Channel.Open(Platform.Open(source, FileAccess.Read), Platform.Open(sink, FileAccess.Write));
        }

        private static void Check(bool done)
        {
            if (!done)
            {
                throw new InvalidOperationException("the handles could not be moved", new Win32Exception());
            }
        }

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr GetStdHandle(int number);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetStdHandle(int number, IntPtr handle);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetHandleInformation(IntPtr handle, uint mask, uint flags);
    }
}
