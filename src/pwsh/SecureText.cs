using System;
using System.Net;
using System.Runtime.InteropServices;
using System.Security;

namespace SecretBridge;

/// <summary>Texts and SecureStrings.</summary>
public static class SecureText
{
    /// <summary>A SecureString holds no more characters than this.</summary>
    public const int MaxLength = 65536;

    /// <summary>
    /// A text as a SecureString, in one go: character by character takes a second for the longest. A NUL would go in, but
    /// SecretManagement reads SecureStrings back to the first NUL only.
    /// </summary>
    public static SecureString Make(string text)
    {
        if (text.Contains('\0'))
        {
            throw new BridgeException("ValueNotRepresentable", "a SecureString with a NUL would be cut there");
        }
        if (text.Length > MaxLength)
        {
            throw new BridgeException("ValueNotRepresentable", $"a SecureString holds at most {MaxLength} characters");
        }
        SecureString secure = new NetworkCredential("", text).SecurePassword;
        secure.MakeReadOnly();
        return secure;
    }

    /// <summary>Its text by its length, not to the first NUL as NetworkCredential reads it.</summary>
    public static string Reveal(SecureString secure)
    {
        IntPtr pointer = Marshal.SecureStringToBSTR(secure);
        try
        {
            return Marshal.PtrToStringBSTR(pointer);
        }
        finally
        {
            Marshal.ZeroFreeBSTR(pointer);
        }
    }
}
