using System;
using System.IO;

namespace SecretBridge;

/// <summary>The program's own files, which are no place of a script's error.</summary>
public static class Own
{
    /// <summary>The folder that holds them.</summary>
    public static string Folder { get; set; } = Path.GetDirectoryName(typeof(Own).Assembly.Location) ?? "";

    /// <summary>A file is one of them.</summary>
    public static bool Contains(string file) => Folder.Length > 0 && file.StartsWith(Folder, StringComparison.Ordinal);
}
