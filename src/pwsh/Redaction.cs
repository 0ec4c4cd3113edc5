using System;
using System.Collections.Generic;
using System.Linq;

namespace SecretBridge;

/// <summary>Texts of secrets, starred out of what goes to a log, a fault or a page.</summary>
public static class Redaction
{
    /// <summary>Shorter ones would star out half of every message.</summary>
    private const int Shortest = 3;

    private const int MessageLength = 4000;

    /// <summary>Texts that the present request has read or written.</summary>
    public static HashSet<string> Seen { get; } = new(StringComparer.Ordinal);

    /// <summary>Keeps a text for as long as the request lasts.</summary>
    public static void Add(string text)
    {
        if (text.Length >= Shortest)
        {
            Seen.Add(text);
        }
    }

    /// <summary>A text without the request's secrets and these.</summary>
    public static string Hide(string? text, IEnumerable<string>? secrets = null)
    {
        text ??= "";
        if (Seen.Count == 0 && secrets is null)
        {
            return text;
        }
        // The longest first: a short one may be a part of it, and would leave the rest to be read.
        foreach (string secret in Seen.Concat(secrets ?? []).OrderByDescending(secret => secret.Length))
        {
            if (secret.Length >= Shortest)
            {
                text = text.Replace(secret, "***", StringComparison.Ordinal);
            }
        }
        return text;
    }

    /// <summary>The same, cut to what a message may be.</summary>
    public static string Message(string? text, IEnumerable<string>? secrets = null)
    {
        text = Hide(text, secrets);
        return text.Length > MessageLength ? text[..MessageLength] : text;
    }
}
